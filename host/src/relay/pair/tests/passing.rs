//! What is passed on, and how it ends.

use super::*;

#[test]
fn small_words_go_both_ways_and_leave_nothing_behind() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        for turn in 0..100 {
            let word = format!("word {turn}");
            (&client).write_all(word.as_bytes()).unwrap();
            rig.brings(&service, word.as_bytes());
            assert_eq!((rig.pair().asks(), rig.pair().is_unanswered()), (true, turn == 0));
            (&service).write_all(word.as_bytes()).unwrap();
            rig.brings(&client, word.as_bytes());
            assert!(rig.pair().is_still() && !rig.pair().asks());
        }
        assert_eq!(rig.moved, Moved { to_backend: 690, from_backend: 690 });
    }
}

#[test]
fn much_goes_both_ways_at_once_whole_and_in_fair_portions() {
    const MUCH: u64 = 64 * 1024 * 1024;
    for (families, paces) in
        ALL.into_iter().zip([[7_000, 1 << 20], [1 << 20, 9_000]].iter().cycle())
    {
        let (client, service, mut rig) = joined(families, b"");
        let played = |end: TcpStream, pace| {
            let other = end.try_clone().unwrap();
            let writer = thread::spawn(move || {
                write_text(&other, MUCH);
                other.shutdown(std::net::Shutdown::Write).unwrap();
            });
            (writer, thread::spawn(move || read_text(&end, pace)))
        };
        let ends = [played(client, paces[0]), played(service, paces[1])];
        assert!(matches!(rig.end(), Outcome::Over), "{families:?}");
        for (writer, reader) in ends {
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), MUCH);
        }
        assert_eq!(rig.moved, Moved { to_backend: MUCH, from_backend: MUCH });
        assert!(rig.longest < 2 * TURN, "{} in one turn", rig.longest);
    }
}

#[test]
fn a_sender_is_stopped_by_a_receiver_that_does_not_read() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        (&client).write_all(b"?").unwrap();
        rig.brings(&service, b"?");
        (&service).write_all(b"!").unwrap();
        rig.brings(&client, b"!");
        client.set_nonblocking(true).unwrap();
        let (part, mut sent, mut idle) = (vec![b'x'; 100_000], 0, 0);
        while idle < 5 {
            assert!(sent < 64 * 1024 * 1024, "{families:?}: nobody stops it");
            match (&client).write(&part) {
                Ok(length) => (sent, idle) = (sent + length as u64, 0),
                Err(_) => {
                    idle += 1;
                    rig.step();
                }
            }
        }
        // What was taken is in the sockets, and in what is kept, which is not more than a pipe is asked for.
        assert!(!rig.pair().is_still());
        let reader = thread::spawn(move || {
            let mut all = vec![0; sent as usize];
            (&service).read_exact(&mut all).unwrap();
            all.len()
        });
        rig.until(|it| it.moved.to_backend == sent + 1 && it.pair().is_still());
        drop(rig);
        assert_eq!(reader.join().unwrap() as u64, sent);
    }
}

#[test]
fn the_end_of_one_direction_leaves_the_other_alone() {
    for families in ALL {
        for turned in [false, true] {
            let (client, service, mut rig) = joined(families, b"");
            let (first, second) = if turned { (&service, &client) } else { (&client, &service) };
            let mut writer = first;
            writer.write_all(b"all I have").unwrap();
            first.shutdown(std::net::Shutdown::Write).unwrap();
            rig.brings(second, b"all I have");
            rig.is_ended(second);
            let mut writer = second;
            writer.write_all(b"and here is").unwrap();
            rig.brings(first, b"and here is");
            writer.write_all(b" mine").unwrap();
            rig.brings(first, b" mine");
            second.shutdown(std::net::Shutdown::Write).unwrap();
            rig.is_ended(first);
            assert!(matches!(rig.end(), Outcome::Over));
        }
    }
}

#[test]
fn a_reset_is_passed_on_each_way() {
    for turned in [false, true] {
        let (client, service, mut rig) = joined([Tcp, Tcp], b"");
        (&client).write_all(b"?").unwrap();
        rig.brings(&service, b"?");
        (&service).write_all(b"!").unwrap();
        rig.brings(&client, b"!");
        let (goes, stays) = if turned { (service, client) } else { (client, service) };
        drop_hard(goes);
        assert!(matches!(rig.end(), Outcome::Over));
        rig.is_reset(&stays);
    }
}

#[test]
fn what_was_said_before_a_reset_is_delivered_first() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        (&client).write_all(b"a long request").unwrap();
        rig.until(|it| it.moved.to_backend == 14);
        (&service).write_all(b"too long").unwrap();
        // It has not read what it was sent: that is a reset.
        drop(service);
        rig.brings(&client, b"too long");
        assert!(matches!(rig.end(), Outcome::Over));
        match families[0] {
            Tcp => rig.is_reset(&client),
            Unix => rig.is_ended(&client),
        }
    }
}

#[test]
fn what_is_on_its_way_when_its_sender_is_gone_arrives() {
    const MUCH: u64 = 5_000_000;
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        let writer = thread::spawn(move || write_text(&service, MUCH));
        rig.until(|it| it.moved.from_backend > 0);
        let reader = thread::spawn(move || read_text(&client, 3_000));
        assert!(matches!(rig.end(), Outcome::Over));
        writer.join().unwrap();
        assert_eq!(reader.join().unwrap(), MUCH);
    }
}

#[test]
fn a_greeting_that_is_not_taken_at_once_still_comes_first() {
    let (client, its_end) = connection(Unix);
    let (backend, service) = connection(Unix);
    backend.set_nonblocking(true).unwrap();
    let mut filled = 0;
    while let Ok(length) = (&backend).write(&[b'.'; 5000]) {
        filled += length;
    }
    let mut rig = Rig::new(its_end, backend, b"PROXY\n");
    (&client).write_all(b"hello").unwrap();
    rig.step();
    assert_eq!(rig.moved.to_backend, 0);
    rig.brings(&service, &[vec![b'.'; filled], b"PROXY\nhello".to_vec()].concat());
    assert_eq!(rig.moved.to_backend, 5);
}

#[test]
fn bytes_that_come_with_descriptors_do_not_hold_up_what_follows() {
    let (client, service, mut rig) = joined([Unix, Unix], b"");
    for _ in 0..3 {
        let (bytes, fds) = ([IoSlice::new(b"look at this: ")], [client.as_raw_fd()]);
        let with = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(client.as_raw_fd(), &bytes, &with, MsgFlags::empty(), None).unwrap();
        (&client).write_all(b"a file. ").unwrap();
    }
    rig.brings(&service, b"look at this: a file. look at this: a file. look at this: a file. ");
    (&service).write_all(b"thanks").unwrap();
    rig.brings(&client, b"thanks");
}

#[test]
fn sockets_that_were_handed_over_go_on_where_they_were() {
    for families in ALL {
        let (client, service, mut rig) = joined(families, b"");
        (&client).write_all(b"one").unwrap();
        rig.brings(&service, b"one");
        assert!(rig.pair().is_still());
        let [its_end, backend] = rig.pair.take().unwrap().into_sockets();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        rig.pair = Some(Pair::resume(&epoll, its_end, backend, [0, 1]).unwrap());
        rig.epoll = epoll;
        (&client).write_all(b"two").unwrap();
        rig.brings(&service, b"two");
        (&service).write_all(b"three").unwrap();
        rig.brings(&client, b"three");
    }
}

#[test]
fn a_connection_that_is_silent_after_much_has_neither_buffer_nor_pipe() {
    let (client, service, mut rig) = joined([Tcp, Tcp], b"");
    let writer = thread::spawn(move || (write_text(&service, 8_000_000), service).1);
    let reader = client.try_clone().unwrap();
    let reader = thread::spawn(move || read_text(&reader, 5_000));
    rig.until(|it| it.moved.from_backend == 8_000_000 && it.pair().is_still());
    assert!(rig.scratch.is_whole());
    drop(writer.join().unwrap());
    rig.until(|it| it.pair().answering_shut);
    assert_eq!(reader.join().unwrap(), 8_000_000);
    assert!(size_of::<Pair>() <= 88, "{}", size_of::<Pair>());
}
