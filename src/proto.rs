//! Wire types that others define, generated from `proto/` by `build.rs`; nothing else. Spoken by `observe` as a client and by `answer` as
//! a server.

/// KEDA's external scaler protocol, version of KEDA 2.20: how an autoscaler asks a scaler of another make.
#[expect(
    missing_docs,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::pedantic,
    clippy::too_many_lines,
    reason = "generated code; KEDA's documentation explains it"
)]
pub mod external_scaler {
    tonic::include_proto!("externalscaler");
}
