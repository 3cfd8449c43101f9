//! The program of flows-rs with a layer, a transformer, a vector field and a density of one's own.
//!
//! Each is one file, and nothing else names it: what implements `Architecture`, `TransformerConfig` or
//! `DensityConfig`
//! is found by its `kind` in a config as soon as it is part of the program.
//!
//! ```sh
//! cargo run --release -p own-flows -- fit experiments/examples/own-flows/layer.toml --target banana \
//!     --steps 500 --out runs/layer
//! ```

mod density;
mod field;
mod layer;
mod transformer;

fn main() -> std::process::ExitCode {
    experiments::main()
}
