//! Tests of the methods against closed forms and known targets.

mod diagnostics;
mod importance;
mod nuts;
mod support;
