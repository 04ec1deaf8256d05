//! jetbak: parse, run, end with the right exit code.

fn main() -> std::process::ExitCode {
    jetbak::cli::main(std::env::args_os()).number().into()
}
