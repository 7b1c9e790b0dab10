//! Which reasons keep a stage from what it wishes: what `penstock_holds_total` counts. Called by report through [`Reason`].

use super::reason::Reason;

impl Reason {
    /// Does it keep a stage from what it wishes? Its own bounds do not, nor does a step that is on its way.
    pub fn is_hold(&self) -> bool {
        match self {
            Self::CombineFailed { .. }
            | Self::Relearning { .. }
            | Self::HeldByWindow { .. }
            | Self::HeldSinceStart { .. }
            | Self::HeldByUpWindow { .. }
            | Self::LimitedByPolicy { .. }
            | Self::DirectionDisabled { .. }
            | Self::WithinTolerance { .. }
            | Self::HeldBySilence { .. }
            | Self::DownstreamFull { .. }
            | Self::OverBudget { .. }
            | Self::OverQuota { .. }
            | Self::GateHolds { .. }
            | Self::GateUnread { .. }
            | Self::AwaitingPods { .. }
            | Self::Stopped { .. }
            | Self::SpikeUnconfirmed { .. }
            | Self::NoEffect { .. }
            | Self::AwaitingReading { .. }
            | Self::AwaitingRetry { .. }
            | Self::NoFreshData { .. }
            | Self::AwaitingData { .. }
            | Self::OffsetsReset { .. }
            | Self::NoSources
            | Self::Observed { .. }
            | Self::Paused { .. }
            | Self::PinnedByAnnotation { .. }
            | Self::WriterConflict { .. }
            | Self::HpaOnTarget { .. }
            | Self::TargetTaken { .. }
            | Self::TargetLimit { .. }
            | Self::TargetUnusable { .. }
            | Self::OutcomeUnknown { .. }
            | Self::TooSoon { .. }
            | Self::FleetBudget { .. }
            | Self::SourceDoubted { .. }
            | Self::WriteRefused { .. }
            | Self::PromiseBroken { .. }
            | Self::InternalError { .. } => true,
            Self::Threshold { .. }
            | Self::CatchUp { .. }
            | Self::KeepUp { .. }
            | Self::KeepAhead { .. }
            | Self::KeepRoom { .. }
            | Self::KeepLevel { .. }
            | Self::Forecast { .. }
            | Self::InTime { .. }
            | Self::Overdue { .. }
            | Self::Gathering { .. }
            | Self::Cheaper { .. }
            | Self::Combined { .. }
            | Self::Steady { .. }
            | Self::OnSlack { .. }
            | Self::Learning { .. }
            | Self::Woken { .. }
            | Self::WokenAhead { .. }
            | Self::Probing { .. }
            | Self::KeptAwake { .. }
            | Self::Idle { .. }
            | Self::PartitionBound { .. }
            | Self::Breakpoint { .. }
            | Self::AtMin { .. }
            | Self::AtMax { .. }
            | Self::AtScheduledMin { .. }
            | Self::AtScheduledMax { .. }
            | Self::Stuck { .. }
            | Self::LetEnd { .. }
            | Self::SchedulesItself { .. }
            | Self::JobsFail { .. }
            | Self::SickConsumer { .. }
            | Self::HotPartition { .. }
            | Self::Uncommitted { .. }
            | Self::UnusualArrivals { .. }
            | Self::SlowerReplicas { .. }
            | Self::LongerRebalances { .. }
            | Self::Nodes(_)
            | Self::Fallback { .. }
            | Self::ForcedActive { .. }
            | Self::TakenOver { .. }
            | Self::TargetUnseen
            | Self::WriteInFlight => false,
        }
    }
}
