//! Entry of the program.

fn main() -> std::process::ExitCode {
    experiments::main()
}
