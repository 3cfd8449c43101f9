//! Entry of the program.

use mimalloc::MiMalloc;

/// Training frees and asks for some megabytes in every layer, which the system's allocator gives
/// back to the kernel each time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> std::process::ExitCode {
    experiments::main()
}
