//! Butcher tableaux of explicit Runge–Kutta methods.
//!
//! One step of size h from (t, y) with s stages is
//! ```text
//! kᵢ = f(t + cᵢ h, y + h Σ_{j<i} aᵢⱼ kⱼ),   i = 1 … s
//! y' = y + h Σᵢ bᵢ kᵢ
//! ```
//!
//! Reference: Hairer, Nørsett, Wanner, *Solving Ordinary Differential Equations I*, 2nd ed. 1993,
//! II.1 (eq. 1.8) for the notation, II.2 for the order conditions.

/// Tolerance of the sums of coefficients.
const ROUNDING: f64 = 1e-14;

/// The Butcher tableau of an explicit Runge–Kutta method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tableau {
    /// Name for tables and messages.
    pub name: &'static str,
    /// Order p: the error over a fixed interval falls as hᵖ.
    pub order: usize,
    /// Stage weights; row i has the i entries left of the diagonal, so the first row is empty.
    pub a: &'static [&'static [f64]],
    /// Weights of the stages in the step.
    pub b: &'static [f64],
    /// Times of the stages, as fractions of the step.
    pub c: &'static [f64],
}

impl Tableau {
    /// Number of stages s, which is the number of velocity evaluations in a step.
    pub const fn stages(&self) -> usize {
        self.b.len()
    }

    /// Whether the shape is that of an explicit method, every row of `a` sums to its `c`, and `b`
    /// sums to 1, each within 1e-14.
    pub const fn check(&self) -> bool {
        let stages = self.stages();
        if stages == 0 || self.a.len() != stages || self.c.len() != stages {
            return false;
        }
        let mut i = 0;
        while i < stages {
            if self.a[i].len() != i || !close(sum(self.a[i]), self.c[i]) {
                return false;
            }
            i += 1;
        }
        close(sum(self.b), 1.0)
    }
}

const fn sum(values: &[f64]) -> f64 {
    let mut total = 0.0;
    let mut i = 0;
    while i < values.len() {
        total += values[i];
        i += 1;
    }
    total
}

/// Whether two values agree; false for NaN.
const fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= ROUNDING
}

/// Euler's method, order 1. Euler, *Institutiones calculi integralis* I, 1768, §650.
pub const EULER: Tableau = Tableau { name: "euler", order: 1, a: &[&[]], b: &[1.0], c: &[0.0] };

/// Midpoint method, order 2. Runge 1895; printed in Hairer, Nørsett, Wanner II.1, eq. 1.4.
pub const MIDPOINT: Tableau = Tableau {
    name: "midpoint",
    order: 2,
    a: &[&[], &[1.0 / 2.0]],
    b: &[0.0, 1.0],
    c: &[0.0, 1.0 / 2.0],
};

/// Heun's method, the explicit trapezoidal rule, order 2. Heun, *Neue Methoden zur approximativen
/// Integration der Differentialgleichungen einer unabhängigen Veränderlichen*, Z. Math. Phys. 45
/// (1900) 23–38.
pub const HEUN: Tableau = Tableau {
    name: "heun",
    order: 2,
    a: &[&[], &[1.0]],
    b: &[1.0 / 2.0, 1.0 / 2.0],
    c: &[0.0, 1.0],
};

/// Ralston's method, order 2: of all two-stage methods of this order the one with the smallest
/// bound on the truncation error. Ralston, *Runge–Kutta methods with minimum error bounds*,
/// Math. Comp. 16 (1962) 431–437.
pub const RALSTON: Tableau = Tableau {
    name: "ralston",
    order: 2,
    a: &[&[], &[2.0 / 3.0]],
    b: &[1.0 / 4.0, 3.0 / 4.0],
    c: &[0.0, 2.0 / 3.0],
};

/// Classical fourth-order method. Kutta 1901; printed in Hairer, Nørsett, Wanner II.1, table 1.2.
pub const RK4: Tableau = Tableau {
    name: "rk4",
    order: 4,
    a: &[&[], &[1.0 / 2.0], &[0.0, 1.0 / 2.0], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 1.0 / 2.0, 1.0 / 2.0, 1.0],
};

/// Fifth-order solution of the Dormand–Prince 5(4) pair, order 5, six stages.
///
/// The pair has a seventh stage, which serves only the error estimate and as the first stage of
/// the next step. Where the steps are already chosen, six are enough: this is the tableau that
/// replays the mesh of [`dopri5`](crate::dopri5).
///
/// # Reference
/// Dormand, Prince, *A family of embedded Runge–Kutta formulae*, J. Comput. Appl. Math. 6 (1980)
/// 19–26, table 2; printed in Hairer, Nørsett, Wanner II.5, table 5.2 (first six rows, with the
/// seventh as `b`).
pub const DORMAND_PRINCE: Tableau = Tableau {
    name: "dormand-prince",
    order: 5,
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    c: &[0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0],
};

/// Eighth-order solution of DOP853, order 8, twelve stages.
///
/// The error estimates, of orders 5 and 3, need no further stage; the velocity at the end of an
/// accepted step is the first stage of the next. This is the tableau that replays the mesh of
/// [`dop853`](crate::dop853).
///
/// # Accuracy
/// The entries of a row reach 43 and cancel: rounding weighs up to a hundred times as much as in
/// the methods above.
///
/// # Reference
/// Hairer, Nørsett, Wanner II.5 and their code DOP853, whose coefficients are given to thirty
/// digits; after methods of Dormand and Prince.
#[allow(clippy::excessive_precision, reason = "digits as published")]
pub const DORMAND_PRINCE_8: Tableau = Tableau {
    name: "dormand-prince 8",
    order: 8,
    a: &[
        &[],
        &[0.0526001519587677318785587544488],
        &[0.0197250569845378994544595329183, 0.0591751709536136983633785987549],
        &[0.0295875854768068491816892993775, 0.0, 0.0887627564304205475450678981324],
        &[
            0.241365134159266685502369798665,
            0.0,
            -0.884549479328286085344864962717,
            0.924834003261792003115737966543,
        ],
        &[
            0.037037037037037037037037037037,
            0.0,
            0.0,
            0.170828608729473871279604482173,
            0.125467687566822425016691814123,
        ],
        &[
            0.037109375,
            0.0,
            0.0,
            0.170252211019544039314978060272,
            0.0602165389804559606850219397283,
            -0.017578125,
        ],
        &[
            0.0370920001185047927108779319836,
            0.0,
            0.0,
            0.170383925712239993810214054705,
            0.107262030446373284651809199168,
            -0.0153194377486244017527936158236,
            0.00827378916381402288758473766002,
        ],
        &[
            0.624110958716075717114429577812,
            0.0,
            0.0,
            -3.36089262944694129406857109825,
            -0.868219346841726006818189891453,
            27.5920996994467083049415600797,
            20.1540675504778934086186788979,
            -43.4898841810699588477366255144,
        ],
        &[
            0.477662536438264365890433908527,
            0.0,
            0.0,
            -2.48811461997166764192642586468,
            -0.590290826836842996371446475743,
            21.2300514481811942347288949897,
            15.2792336328824235832596922938,
            -33.2882109689848629194453265587,
            -0.0203312017085086261358222928593,
        ],
        &[
            -0.93714243008598732571704021658,
            0.0,
            0.0,
            5.18637242884406370830023853209,
            1.09143734899672957818500254654,
            -8.14978701074692612513997267357,
            -18.5200656599969598641566180701,
            22.7394870993505042818970056734,
            2.49360555267965238987089396762,
            -3.0467644718982195003823669022,
        ],
        &[
            2.27331014751653820792359768449,
            0.0,
            0.0,
            -10.5344954667372501984066689879,
            -2.00087205822486249909675718444,
            -17.9589318631187989172765950534,
            27.9488845294199600508499808837,
            -2.85899827713502369474065508674,
            -8.87285693353062954433549289258,
            12.3605671757943030647266201528,
            0.643392746015763530355970484046,
        ],
    ],
    b: &[
        0.0542937341165687622380535766363,
        0.0,
        0.0,
        0.0,
        0.0,
        4.45031289275240888144113950566,
        1.89151789931450038304281599044,
        -5.8012039600105847814672114227,
        0.31116436695781989440891606237,
        -0.152160949662516078556178806805,
        0.201365400804030348374776537501,
        0.0447106157277725905176885569043,
    ],
    c: &[
        0.0,
        0.0526001519587677318785587544488,
        0.0789002279381515978178381316732,
        0.118350341907227396726757197510,
        0.281649658092772603273242802490,
        1.0 / 3.0,
        1.0 / 4.0,
        4.0 / 13.0,
        127.0 / 195.0,
        3.0 / 5.0,
        6.0 / 7.0,
        1.0,
    ],
};

// Checked at compile time.
const _: () = {
    assert!(EULER.check() && MIDPOINT.check() && HEUN.check() && RALSTON.check() && RK4.check());
    assert!(DORMAND_PRINCE.check() && DORMAND_PRINCE_8.check());
};
