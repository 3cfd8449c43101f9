//! The hybrid model and its objective.

use flows_core::activation::Activation;
use flows_core::parameters::{Visitor, VisitorMut, visit_part, visit_part_mut};
use flows_core::rowwise::{gradient_of_mean, mean, scaled, sum};
use flows_core::tensor::check_columns;
use flows_core::{
    Batch, Context, Cost, Error, Flow, LastLayer, Loss, Mlp, MlpKernel, NetworkKernel, Parameters,
    PerRow, Real, Result, Tape, Work, stream,
};

use super::softmax::log_likelihood;

/// A flow with a linear softmax classifier on its base variables:
///
/// ```text
/// z = T^-1(x),   log p(x) = log p_base(z) + log |det dz/dx|,   p(y | x) = softmax(W z + b)_y
/// ```
///
/// The classifier starts at zero, where all classes are equally likely.
///
/// # Reference
/// Nalisnick, Matsukawa, Teh, Görür, Lakshminarayanan, *Hybrid Models with Deep and Invertible Features*, ICML
/// 2019. <https://arxiv.org/abs/1902.02767>
#[derive(Debug)]
pub struct Hybrid<E: Real> {
    pub(super) flow: Flow<E>,
    pub(super) classifier: Mlp<E>,
}

/// What one pass of a batch through the flow gives.
pub(super) struct Pass<E: Real> {
    /// Scores of the classes, `(rows, classes)`.
    pub(super) scores: Batch<E>,
    pub(super) log_prob: PerRow<E>,
    penalty: Option<PerRow<E>>,
    work: Work,
}

/// Both log-likelihoods of the rows of a batch.
#[derive(Debug)]
pub struct HybridTerms<E: Real> {
    /// log p(y | x) in nats.
    pub log_class: PerRow<E>,
    /// log p(x) in nats.
    pub log_prob: PerRow<E>,
    /// Regularisation that the bijector adds to the training loss, nats a row.
    pub penalty: Option<PerRow<E>>,
    /// Counted work.
    pub work: Work,
}

impl<E: Real> Hybrid<E> {
    /// A classifier into `classes` classes on the base variables of `flow`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for fewer than two classes; [`Error::Dimension`] for a flow that takes a context;
    /// [`Error::NotInvertible`] for one without a density.
    pub fn new(flow: Flow<E>, classes: usize) -> Result<Self> {
        if classes < 2 {
            let (name, requirement) = ("classes of a hybrid model", "at least 2");
            return Err(Error::Parameter { name, requirement, value: classes as f64 });
        }
        let (expected, got) = (0, flow.bijector().context_dim());
        if expected != got {
            return Err(Error::Dimension { op: "context of a hybrid model's flow", expected, got });
        }
        if flow.bijector().costs().inverse == Cost::Unavailable {
            return Err(Error::NotInvertible { bijector: "the flow of a hybrid model" });
        }
        // Without hidden layers the perceptron is linear, and so has no use for its activation.
        let kernel = MlpKernel::new(flow.dim(), &[], classes, Activation::Tanh)?;
        let rng = &mut stream(0, "classifier");
        Ok(Self { classifier: Mlp::new(kernel, LastLayer::Zero, rng)?, flow })
    }

    /// Number of features.
    pub fn dim(&self) -> usize {
        self.flow.dim()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        NetworkKernel::<E>::outputs(self.classifier.kernel())
    }

    /// The flow, the model's p(x).
    pub fn flow(&self) -> &Flow<E> {
        &self.flow
    }

    /// The flow, to set its purpose, begin a step or initialise it.
    pub fn flow_mut(&mut self) -> &mut Flow<E> {
        &mut self.flow
    }

    /// Both log-likelihoods of rows `x`, `(rows, dim)`, and their `classes`, from 0.
    ///
    /// # Errors
    /// [`Error::Dimension`] and [`Error::Rows`] unless they fit; [`Error::Caller`] for a class that there is
    /// not; as [`Flow::log_prob`].
    pub fn terms(
        &self,
        x: &Batch<E>,
        classes: &[usize],
        tape: &mut Tape<E>,
    ) -> Result<HybridTerms<E>> {
        let Pass { scores, log_prob, penalty, work } = self.pass(x, tape)?;
        let log_class = log_likelihood(&scores, classes, tape)?;
        Ok(HybridTerms { log_class, log_prob, penalty, work })
    }

    pub(super) fn pass(&self, x: &Batch<E>, tape: &mut Tape<E>) -> Result<Pass<E>> {
        check_columns("rows of a hybrid model", x, self.dim())?;
        let mapped = self.flow.bijector().inverse(x, &Context::none(), tape)?;
        let base = self.flow.base().log_prob(&mapped.value, tape)?;
        let scores = self.classifier.forward(&mapped.value, tape)?;
        let log_prob = sum(vec![base, mapped.log_det], tape)?;
        Ok(Pass { scores, log_prob, penalty: mapped.penalty, work: mapped.work })
    }

    /// The mean over rows of
    ///
    /// ```text
    /// - log p(y | x) - (weight / D) log p(x)
    /// ```
    ///
    /// with D the number of features, and its gradient: the weighted objective of Nalisnick et al., its weight
    /// divided among the features, so that one weight means the same in all dimensions. At weight 0 the flow is a
    /// network for the classifier, and no density is asked for; as the weight grows, it is a flow that is
    /// fitted by maximum likelihood.
    ///
    /// Penalties of the bijector are added for a feature, whatever the weight: the ratio that they have to the
    /// log-likelihood in maximum likelihood is that of weight 1.
    ///
    /// # Errors
    /// As [`terms`](Self::terms).
    pub fn loss(&self, x: &Batch<E>, classes: &[usize], weight: f64) -> Result<Loss<E>> {
        let tape = &mut Tape::recording();
        let HybridTerms { log_class, log_prob, penalty, work } = self.terms(x, classes, tape)?;
        let of_feature = 1.0 / self.dim() as f64;
        let mut terms =
            vec![scaled(log_class, -1.0, tape)?, scaled(log_prob, -weight * of_feature, tape)?];
        if let Some(penalty) = penalty {
            terms.push(scaled(penalty, of_feature, tape)?);
        }
        let losses = sum(terms, tape)?;
        let value = mean(&losses);
        let gradient = gradient_of_mean(1.0, &losses, std::mem::replace(tape, Tape::none()))?;
        Ok(Loss { value, gradient, work })
    }
}

impl<E: Real> Parameters<E> for Hybrid<E> {
    fn visit(&self, f: &mut Visitor<'_, E>) {
        visit_part(&self.flow, "flow", f);
        visit_part(&self.classifier, "classifier", f);
    }

    fn visit_mut(&mut self, f: &mut VisitorMut<'_, E>) -> Result<()> {
        visit_part_mut(&mut self.flow, "flow", f)?;
        visit_part_mut(&mut self.classifier, "classifier", f)
    }
}
