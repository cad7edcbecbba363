//! `zinit-server`, the program.

fn main() -> std::process::ExitCode {
    zinit_host::entry::main()
}
