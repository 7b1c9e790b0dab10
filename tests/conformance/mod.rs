//! What the daemon, kubectl and the chart rely on, as cases that take any `kube::Client`: the fast tier runs them against the in-memory
//! API, the live tier against a real kube-apiserver. Each case makes its own objects under its own names and needs no controllers.

pub(crate) mod apply;
pub(crate) mod ground;
