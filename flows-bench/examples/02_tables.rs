//! A table on its way to a flow and back: split, noise on grids, standardised columns, a file.
//!
//! Run with `cargo run --release -p flows-bench --example 02_tables`.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use flows_bench::table::{self, EveryTenth, RedWine, SplitRule, Standardiser, Table, red_wine};
use flows_core::stream;

fn main() -> Result<(), Box<dyn Error>> {
    let RedWine { table, dequantisation } = red_wine()?;
    let noisy = dequantisation.columns.len();
    let table = &dequantisation.apply(&table, &mut stream(0, "dequantise"))?;
    println!("{} rows of {} columns, {noisy} of them dequantised", table.rows(), table.columns());

    let split = SplitRule::EveryTenth(EveryTenth {}).split(table.rows())?;
    let [training, validation, test] = [&split.training, &split.validation, &split.test];
    println!("{} train, {} validate, {} test", training.len(), validation.len(), test.len());

    let standardiser = Standardiser::fit(table, training)?;
    let mut values = table.select_rows(test)?.into_values();
    standardiser.apply(&mut values)?;
    let offset = standardiser.log_det();
    println!("log-densities in the table's own units: those of the flow and {offset:.4} nats");

    standardiser.undo(&mut values)?;
    let path = std::env::temp_dir().join("flows-bench-02-tables.csv.gz");
    table::write(&path, &Table::new(table.names().to_vec(), table.columns(), values)?)?;
    let back = table::read(&path)?;
    println!("written and read back: {} rows, first column {:?}", back.rows(), back.names()[0]);
    Ok(())
}
