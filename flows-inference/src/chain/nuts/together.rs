//! Chains whose points are evaluated together: each runs in a thread of its own, which hands in a point
//! and waits; once every chain has, one evaluation answers them all.
//!
//! A target's answer depends on the point only, so that the chains are those that would run alone.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use flows_core::{Error, Result, Target};

use super::density::Evaluate;

/// log p~ at a point, and its gradient.
type Answer = Result<(f64, Vec<f64>)>;

/// Where a chain hands in its points.
struct Desk {
    points: Receiver<Vec<f64>>,
    answers: Sender<Answer>,
}

/// What `chain` returns for each of `count` chains, by number; it is given its evaluation of the target.
/// All evaluations run on the calling thread.
pub(super) fn together<R: Send>(
    target: &dyn Target,
    count: usize,
    chain: impl Fn(usize, &Evaluate<'_>) -> R + Sync,
) -> Vec<R> {
    let chain = &chain;
    thread::scope(|scope| {
        let start = |index| {
            let (hand_in, points) = channel();
            let (answers, answered) = channel();
            let run = scope.spawn(move || {
                chain(index, &|point, gradient| ask(&hand_in, &answered, point, gradient))
            });
            (Desk { points, answers }, run)
        };
        let (desks, runs): (Vec<Desk>, Vec<_>) = (0..count).map(start).unzip();
        serve(target, desks);
        runs.into_iter()
            .map(|run| run.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn ask(
    hand_in: &Sender<Vec<f64>>,
    answered: &Receiver<Answer>,
    point: &[f64],
    gradient: &mut [f64],
) -> Result<f64> {
    let closed = || Error::Caller("the evaluation of the target has ended".into());
    hand_in.send(point.to_vec()).map_err(|_| closed())?;
    let (value, slopes) = answered.recv().map_err(|_| closed())??;
    gradient.copy_from_slice(&slopes);
    Ok(value)
}

/// Answers until every chain has ended, which closes its end.
fn serve(target: &dyn Target, mut desks: Vec<Desk>) {
    loop {
        let mut points = Vec::new();
        desks.retain(|desk| desk.points.recv().map(|point| points.extend(point)).is_ok());
        if desks.is_empty() {
            return;
        }
        for (desk, answer) in desks.iter().zip(answers(target, &points)) {
            // A chain that no longer listens has panicked, which is seen where it is joined.
            let _ = desk.answers.send(answer);
        }
    }
}

fn answers(target: &dyn Target, points: &[f64]) -> Vec<Answer> {
    let dim = target.dim();
    let mut gradients = vec![0.0; points.len()];
    match target.evaluate(points, &mut gradients) {
        Ok(values) => {
            values.into_iter().zip(gradients.chunks(dim).map(<[f64]>::to_vec)).map(Ok).collect()
        }
        Err(error) if points.len() == dim => vec![Err(error)],
        // One point that cannot be evaluated fails them all: each has an answer of its own.
        Err(_) => points.chunks(dim).flat_map(|point| answers(target, point)).collect(),
    }
}
