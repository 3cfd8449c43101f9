//! The count of multiplications, which is the process's: a test of its own.
#![allow(clippy::unwrap_used, reason = "a test reports by panicking")]

use flows_core::activation::Activation;
use flows_core::matmul::{Destination, Matrix, multiplications, product};
use flows_core::tensor::batch;
use flows_core::{LastLayer, Mlp, MlpKernel, Network, Tape, normals, stream};

#[test]
fn products_are_counted_on_all_threads_and_only_meanwhile() {
    let (a, b) = (vec![1.0_f64; 15], vec![1.0_f64; 35]);
    let multiply = || {
        let mut out = vec![0.0; 21];
        product(Matrix::new(&a, 3, 5), Matrix::new(&b, 5, 7), &mut out, Destination::Replace);
        out
    };
    multiply();
    assert_eq!(multiplications(multiply), (vec![5.0; 21], 3 * 5 * 7));
    multiply();
    assert_eq!(multiplications(|| ()).1, 0, "what came before is not in it");
    assert_eq!(multiplications(|| rayon::join(multiply, multiply)).1, 2 * 3 * 5 * 7);

    // Each weight once a row forwards, and twice backwards: for the inputs, and for the weights.
    let kernel = MlpKernel::new(4, &[8], 2, Activation::Tanh).unwrap();
    let network: Mlp<f64> =
        Network::new(kernel, LastLayer::Random, &mut stream(1, "init")).unwrap();
    let weights = 4 * 8 + 8 * 2;
    for rows in [128, 512] {
        let x = batch(normals(rows * 4, &mut stream(2, "x")), rows, 4).unwrap();
        let forward = multiplications(|| network.forward(&x, &mut Tape::none()).unwrap()).1;
        assert_eq!(forward, (rows * weights) as u64);
        let both = multiplications(|| {
            let mut tape = Tape::recording();
            let y = network.forward(&x, &mut tape).unwrap();
            tape.backward(|gradients| gradients.add(&y, &vec![1.0; rows * 2])).unwrap();
        });
        assert_eq!(both.1, (3 * rows * weights) as u64);
    }
    let panicked = std::panic::catch_unwind(|| multiplications(|| panic!("work that fails")));
    assert!(panicked.is_err());
    multiply();
    assert_eq!(multiplications(multiply).1, 3 * 5 * 7, "a count that failed has ended");
}
