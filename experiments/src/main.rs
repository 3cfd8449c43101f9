//! Entry of the program.

use flows_claims::memory::Counting;
use mimalloc::MiMalloc;

/// Training frees and asks for some megabytes in every layer, which the system's allocator gives
/// back to the kernel each time. The experiment `cost` counts bytes.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

fn main() -> std::process::ExitCode {
    experiments::main()
}
