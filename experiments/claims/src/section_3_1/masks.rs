//! C19: what masks make of a network (review, Section 3.1.2).

use anyhow::Result;
use flows_core::activation::Activation;
use flows_core::testing::perturb;
use flows_core::{Architecture, Bijector, Context, Error, Tape, Values, normals, stream, tensor};
use flows_finite::Recurrent;
use flows_finite::architecture::{
    AffineConfig, AutoregressiveFlow, Conditioner, LayerOrder, Perceptron, Residual,
    TransformerConfig,
};
use flows_report::finding::{Cell, Findings, Table};

use crate::{Check, Claim, Setting};

pub(crate) const C19: Claim = Claim {
    id: "C19",
    title: "Masks",
    review: "A masked network computes all parameters in one pass such that those of feature i depend on \
             the features before it and on nothing else; where every degree is present in every hidden \
             layer, on all of them (Section 3.1.2).",
    method: "Masked layers of perceptrons, as narrow as they may be and wide, of residual networks, in \
             parts, and a recurrent conditioner, with random weights: every feature is moved in turn, \
             and an entry of the Jacobian's pattern counts as present if any bit of the image changes \
             at any of several points. A layer that is too narrow for all degrees has to be refused.",
    check: Check::Run(check),
};

const DIM: usize = 9;

/// A layer, and which feature's image may depend on which feature.
struct Layer {
    name: &'static str,
    bijector: Box<dyn Bijector<f64>>,
    /// Part of a feature: it sees those of earlier parts, and its transformer its own value.
    part: Parts,
}

/// The part of a feature.
type Parts = fn(usize) -> usize;

fn check(setting: &Setting) -> Result<Findings> {
    let points = setting.either(5, 50);
    let mut findings = Findings::default();
    let mut table = Table::new(
        "Entries of the Jacobian's pattern, D = 9.",
        &["conditioner", "allowed", "present", "forbidden, but present", "allowed, but missing"],
    );
    let (mut forbidden, mut missing) = (0, 0);
    for layer in layers(setting.seed)? {
        let counts = counts(&layer, points, setting.seed)?;
        forbidden += counts[2];
        missing += counts[3];
        let [a, b, c, d] = counts.map(Cell::from);
        table.row([layer.name.into(), a, b, c, d]);
    }
    let narrow = perceptron(vec![DIM - 2]);
    let built = narrow.build::<f64>(DIM, 0, &mut stream(setting.seed, "init"));
    let refused = matches!(built, Err(Error::Parameter { .. }));
    findings.at_most(
        "entries that are present and forbidden",
        forbidden as f64,
        0.0,
        "masked weights are exact zeros, so that no bit may change",
    );
    findings.at_most(
        "entries that are allowed and missing",
        missing as f64,
        0.0,
        "every degree is present, random weights do not vanish, and the hyperbolic tangent is flat \
         nowhere",
    );
    findings.at_least(
        "layers with fewer units than degrees that are refused, of 1",
        f64::from(u8::from(refused)),
        1.0,
        "some feature could not depend on all before it",
    );
    findings.tables.push(table);
    Ok(findings)
}

/// Entries that are allowed, present, present though forbidden, and missing though allowed.
fn counts(layer: &Layer, points: usize, seed: u64) -> Result<[usize; 4]> {
    let present = pattern(&*layer.bijector, points, seed)?;
    let mut counts = [0; 4];
    for (i, j) in (0..DIM * DIM).map(|entry| (entry / DIM, entry % DIM)) {
        let allowed = i == j || (layer.part)(j) < (layer.part)(i);
        let there = present[i * DIM + j];
        let seen = [allowed, there, there && !allowed, allowed && !there];
        for (count, seen) in counts.iter_mut().zip(seen) {
            *count += usize::from(seen);
        }
    }
    Ok(counts)
}

fn perceptron(hidden: Vec<usize>) -> AutoregressiveFlow {
    let perceptron = Perceptron { hidden, activation: Activation::Tanh };
    AutoregressiveFlow {
        layers: 1,
        conditioner: Conditioner::Perceptron(perceptron),
        order: LayerOrder::Natural,
        act_norm: false,
        ..AutoregressiveFlow::default()
    }
}

fn layers(seed: u64) -> Result<Vec<Layer>> {
    let own = |i: usize| i;
    let residual = Residual { width: 16, blocks: 2, activation: Activation::Tanh };
    let residual =
        AutoregressiveFlow { conditioner: Conditioner::Residual(residual), ..perceptron(vec![]) };
    let parts = |parts| AutoregressiveFlow { parts: Some(parts), ..perceptron(vec![16, 16]) };
    let masked: [(&str, AutoregressiveFlow, Parts); 6] = [
        ("one layer, a unit a degree", perceptron(vec![DIM - 1]), own),
        ("two layers, a unit a degree", perceptron(vec![DIM - 1, DIM - 1]), own),
        ("two layers of 64", perceptron(vec![64, 64]), own),
        ("residual", residual, own),
        ("two layers of 16, 3 parts", parts(3), |i| i * 3 / DIM),
        ("two layers of 16, 2 parts", parts(2), |i| i * 2 / DIM),
    ];
    let mut layers = Vec::new();
    for (name, flow, part) in masked {
        let mut chain = flow.build::<f64>(DIM, 0, &mut stream(seed, "init"))?;
        perturb(&mut chain, 0.3, &mut stream(seed, name))?;
        layers.push(Layer { name, bijector: Box::new(chain), part });
    }
    let affine = AffineConfig::default().shared().build()?;
    let recurrent = Recurrent::new(DIM, 0, 8, affine)?;
    let mut recurrent = flows_core::Layer::<f64>::new(recurrent, &mut stream(seed, "init"))?;
    perturb(&mut recurrent, 0.3, &mut stream(seed, "recurrent"))?;
    layers.push(Layer { name: "recurrent", bijector: Box::new(recurrent), part: own });
    Ok(layers)
}

/// Whether the image of feature i changes with feature j, at i D + j; data to base.
fn pattern(bijector: &dyn Bijector<f64>, points: usize, seed: u64) -> Result<Vec<bool>> {
    let image = |x: Vec<f64>| -> Result<Vec<f64>> {
        let x = tensor::batch(x, points, DIM)?;
        Ok(bijector.inverse(&x, &Context::none(), &mut Tape::none())?.value.values())
    };
    let x = normals::<f64>(points * DIM, &mut stream(seed, "points"));
    let before = image(x.clone())?;
    let mut present = vec![false; DIM * DIM];
    for j in 0..DIM {
        let mut moved = x.clone();
        for row in moved.chunks_mut(DIM) {
            row[j] += 0.5;
        }
        for (entry, (a, b)) in before.iter().zip(image(moved)?).enumerate() {
            present[entry % DIM * DIM + j] |= a.to_bits() != b.to_bits();
        }
    }
    Ok(present)
}
