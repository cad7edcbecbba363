//! What is so until the service has answered for the first time.

use super::*;

#[test]
fn a_service_that_dies_before_it_answers_gives_its_client_back() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"from afar\n");
        for word in ["give ", "me ", "this"] {
            let before = rig.moved.to_backend;
            (&client).write_all(word.as_bytes()).unwrap();
            rig.until(|it| it.moved.to_backend == before + word.len() as u64);
        }
        assert!(rig.pair().asks());
        drop(service);
        let its_end = rig.unheard();
        let (backend, service) = connection(families[1]);
        rig.join(its_end, backend, b"from afar again\n");
        rig.brings(&service, b"from afar again\ngive me this");
        (&service).write_all(b"here").unwrap();
        rig.brings(&client, b"here");
        (&client).write_all(b"thanks").unwrap();
        rig.brings(&service, b"thanks");
    }
}

#[test]
fn a_client_nobody_accepted_is_given_back() {
    let (client, its_end) = connection(Tcp);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backend = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut rig = Rig::new(its_end, backend, b"");
    (&client).write_all(b"anybody there?").unwrap();
    rig.until(|it| it.moved.to_backend == 14);
    drop(listener);
    let its_end = rig.unheard();
    (&client).write_all(b" hello?").unwrap();
    let (backend, service) = connection(Tcp);
    rig.join(its_end, backend, b"");
    rig.brings(&service, b"anybody there? hello?");
}

#[test]
fn a_client_that_said_nothing_is_given_back() {
    for families in [[Tcp, Tcp], [Unix, Tcp]] {
        let (client, service, mut rig) = joined(families, b"");
        drop_hard(service);
        let its_end = rig.unheard();
        let (backend, service) = connection(Tcp);
        rig.join(its_end, backend, b"");
        (&service).write_all(b"220 at your service").unwrap();
        rig.brings(&client, b"220 at your service");
    }
}

#[test]
fn a_client_that_may_not_return_is_reset_with_its_service() {
    let (client, service, mut rig) = joined([Tcp, Tcp], b"");
    rig.may_return = false;
    (&client).write_all(b"anybody there?").unwrap();
    rig.brings(&service, b"anybody there?");
    drop_hard(service);
    assert!(matches!(rig.end(), Outcome::Over));
    rig.is_reset(&client);
}

#[test]
fn an_orderly_end_without_a_word_is_passed_on_as_such() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        (&client).write_all(b"hello").unwrap();
        rig.brings(&service, b"hello");
        drop(service);
        rig.is_ended(&client);
        assert!(!rig.pair().asks());
        drop(client);
        assert!(matches!(rig.end(), Outcome::Over));
    }
}

#[test]
fn a_client_that_trickles_is_understood() {
    for (families, old_kernel) in ALL.into_iter().zip([false, false, true, true]) {
        let (client, service, mut rig) = joined(families, b"");
        client.set_nodelay(true).ok();
        for at in 0..200_u64 {
            (&client).write_all(&[b'a' + (at % 26) as u8]).unwrap();
            rig.until(|it| it.moved.to_backend == at + 1);
            if at == 1 && old_kernel && families[0] == Tcp {
                let pair = rig.pair.as_mut().unwrap();
                pair.from = From::Front;
                look_from(pair.client.as_ref().unwrap().fd.as_fd(), -1).unwrap();
            }
        }
        let all: Vec<u8> = (0..200_u64).map(|at| b'a' + (at % 26) as u8).collect();
        rig.brings(&service, &all);
        (&service).write_all(b"ok").unwrap();
        rig.brings(&client, b"ok");
        (&client).write_all(b"bye").unwrap();
        rig.brings(&service, b"bye");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        rig.is_ended(&service);
    }
}

#[test]
fn a_client_that_says_much_before_it_is_answered_is_protected_no_longer() {
    const MUCH: u64 = 3_000_000;
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        let writer = thread::spawn(move || {
            write_text(&client, MUCH);
            client.shutdown(std::net::Shutdown::Write).unwrap();
            client
        });
        let reader = thread::spawn(move || {
            assert_eq!(read_text(&service, 10_000), MUCH);
            service
        });
        rig.until(|it| it.moved.to_backend == MUCH && it.pair().is_still());
        rig.until(|it| it.pair().asking_shut);
        let (client, service) = (writer.join().unwrap(), reader.join().unwrap());
        assert!(rig.pair().asks() && !rig.pair().protected);
        (&service).write_all(b"got it").unwrap();
        rig.brings(&client, b"got it");
    }
}

#[test]
fn a_client_that_ends_before_it_is_answered_is_answered_by_the_next_service_too() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        (&client).write_all(b"what is it?").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        rig.until(|it| it.pair().asking_shut);
        drop(service);
        let its_end = rig.unheard();
        let (backend, service) = connection(families[1]);
        rig.join(its_end, backend, b"");
        rig.brings(&service, b"what is it?");
        rig.is_ended(&service);
        (&service).write_all(b"this").unwrap();
        drop(service);
        rig.brings(&client, b"this");
        rig.is_ended(&client);
        assert!(matches!(rig.end(), Outcome::Over));
    }
}

#[test]
fn a_client_that_waits_for_an_answer_with_much_in_its_socket_is_relieved() {
    let (client, service, mut rig) = joined([Unix, Unix], b"");
    client.set_nonblocking(true).unwrap();
    let mut said = 0;
    while (&client).write(b"x").is_ok() {
        said += 1;
    }
    rig.until(|it| it.moved.to_backend == said);
    assert!((&client).write(b"x").is_err() && rig.pair().asks());
    let Rig { pair, scratch, .. } = &mut rig;
    pair.as_mut().unwrap().waive(scratch);
    (&client).write_all(b"xxx").unwrap();
    rig.brings(&service, &vec![b'x'; said as usize + 3]);
}
