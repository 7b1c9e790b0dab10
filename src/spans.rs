//! The spans of a turn, which OpenTelemetry shows as one trace: observe, decide, act, and each write. The rooms open them; where they go,
//! if anywhere, is set up by `penstock run`. With nobody to collect them they cost a look at a flag.

use opentelemetry::trace::TraceContextExt;
use tracing::{Span, field, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::decide::{Action, Ending};

/// The target of all of them, by which a filter lets them through or not.
pub const TARGET: &str = "penstock::turn";

/// A turn over so many pipelines. Lines logged within it have its `trace_id`.
pub fn turn(pipelines: usize) -> Span {
    let span = info_span!(
        target: TARGET,
        "turn",
        pipelines,
        actions = field::Empty,
        trace_id = field::Empty
    );
    if let Some(id) = trace(&span) {
        span.record("trace_id", id);
    }
    span
}

/// The id of the trace that a span belongs to; `None` where nobody collects traces.
pub fn trace(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    // Of a turn that the sampler left out there is nothing to be led to.
    context.is_sampled().then(|| context.trace_id().to_string())
}

/// What the queues said and how the cluster stands is put together.
pub fn observe() -> Span {
    info_span!(target: TARGET, "observe")
}

/// Counts are decided.
pub fn decide() -> Span {
    info_span!(target: TARGET, "decide")
}

/// Writes are begun.
pub fn act() -> Span {
    info_span!(target: TARGET, "act")
}

/// One write, from its start to its end.
pub fn write(action: &Action) -> Span {
    let scale = action.scale();
    info_span!(
        target: TARGET,
        "write",
        workload = %scale.target,
        from = scale.from,
        to = scale.to,
        reason = scale.why.code(),
        ending = field::Empty
    )
}

/// Says on the present span how its write ended.
pub fn ended(ending: &Ending) {
    Span::current().record("ending", ending.code());
}
