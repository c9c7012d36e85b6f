//! The `infra` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    infra::cli::main()
}
