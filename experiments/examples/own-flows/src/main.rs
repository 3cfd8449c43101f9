//! The program of flows-rs with a layer, a transformer and a vector field of one's own.
//!
//! Each is one file, and nothing else names it: what implements `Architecture` or `TransformerConfig`
//! is found by its `kind` in a config as soon as it is part of the program.
//!
//! ```sh
//! cargo run --release -p own-flows -- fit experiments/examples/own-flows/layer.toml --target banana \
//!     --steps 500 --out runs/layer
//! ```

mod field;
mod layer;
mod transformer;

fn main() -> std::process::ExitCode {
    experiments::main()
}
