//! What to change to get another answer: one hint for each reason where something can be changed. It is meant to be tried, so it names the
//! field and the value wherever they follow from the reason. Called by report, answer and the command line through [`Reason`].

use std::borrow::Cow;

use super::figures::replicas;
use super::partitions::ceil;
use super::reason::Reason;

impl Reason {
    /// Did the objective make the count, so that another one makes another? Then the outlook knows which.
    pub fn hangs_on_objective(&self) -> bool {
        matches!(
            self,
            Self::CatchUp { .. }
                | Self::KeepUp { .. }
                | Self::KeepAhead { .. }
                | Self::KeepRoom { .. }
                | Self::KeepLevel { .. }
                | Self::Steady { .. }
        )
    }

    /// What to change to get another answer, for `explain`, as exactly as it can be said; `None` where nothing need be changed.
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each cause; a list is read, not followed"
    )]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let said = |text: String| Some(Cow::Owned(text));
        Some(Cow::Borrowed(match self {
            Self::Threshold { lag, per_replica, wished, .. } if 1 < *wished => {
                let twice = per_replica * 2.0;
                let fewer = replicas(ceil(lag / twice).max(1));
                return said(format!("set perReplica to {twice} for {fewer}"));
            }
            Self::Threshold { .. } => {
                "lower perReplica for more replicas, or state objective.maxDelay instead of a threshold"
            }
            Self::CatchUp { .. }
            | Self::KeepUp { .. }
            | Self::KeepAhead { .. }
            | Self::KeepLevel { .. }
            | Self::KeepRoom { .. }
            | Self::Steady { .. } => "change objective.maxDelay, or make each replica faster",
            Self::Forecast { .. } => "state forecast: {mode: Off} to go by what arrives now",
            Self::InTime { .. } => {
                "state a later objective.doneBy for fewer, or make each replica faster"
            }
            Self::Overdue { .. } => "raise replicas.max, or state a later objective.doneBy",
            Self::Gathering { .. } => {
                "state objective.maxDelay instead of doneBy to have it done as it comes"
            }
            Self::Cheaper { .. } => {
                "state an earlier objective.doneBy, or other price.hours of the CapacityPools it runs on, to have it done sooner"
            }
            Self::Combined { .. } => "change combine.expression, or what the sources it names want",
            Self::CombineFailed { .. } => {
                "see that combine.expression gives a number of 0 or more whatever its sources want"
            }
            Self::OnSlack { .. } => "state objective.prefer: Latency to keep up at all times",
            Self::DownstreamFull { .. } => "raise replicas.max of the stage after it",
            Self::OverBudget { budget, first, .. } => {
                let or = if first.is_some() { ", or spec.priority of this pipeline" } else { "" };
                return said(format!("raise the limits of CapacityBudget {budget}{or}"));
            }
            Self::OverQuota { quota, room, first, .. } => {
                let or = if first.is_some() { ", or spec.priority of this pipeline" } else { "" };
                return said(format!("raise {} of ResourceQuota {quota}{or}", room.of.name()));
            }
            Self::Learning { .. } => "state ratePerReplica on the stage to skip learning",
            Self::Woken { .. } | Self::WokenAhead { .. } => {
                "raise the source's activation to sleep through small amounts"
            }
            Self::Probing { .. } => "state ratePerReplica on the stage to skip trying",
            Self::Relearning { .. } => {
                "nothing: busy pods show what they get through within a minute, and fewer are tried once it is quiet"
            }
            Self::KeptAwake { wake, .. } => {
                let wake = wake.ceil();
                return said(format!(
                    "raise objective.maxDelay to {wake:.0}s, or state idle: {{replicas: 0, after: 5m}} to sleep all the same"
                ));
            }
            Self::Idle { .. } => "state idle.replicas and idle.after to keep more, or for longer",
            Self::PartitionBound { wished, .. } => {
                let wished = replicas(*wished);
                return said(format!("add partitions to the topic: {wished} need as many"));
            }
            Self::Breakpoint { .. } => "choose a partition count with more divisors",
            Self::AtMin { wished, .. } => {
                return said(format!("lower replicas.min to {wished}"));
            }
            Self::AtMax { wished, .. } => {
                return said(format!("raise replicas.max to {wished}"));
            }
            Self::AtScheduledMin { schedule, .. } | Self::AtScheduledMax { schedule, .. } => {
                return said(format!("change replicas of schedule {schedule}, or when it holds"));
            }
            Self::HeldByWindow { wished, .. } | Self::HeldSinceStart { wished, .. } => {
                return said(format!(
                    "wait, or set behavior.scaleDown.stabilizationWindowSeconds to 0, and it goes to {wished} at once"
                ));
            }
            Self::HeldByUpWindow { .. } => "lower behavior.scaleUp.stabilizationWindowSeconds",
            Self::LimitedByPolicy { .. } => "widen the policies of behavior",
            Self::DirectionDisabled { .. } => "take selectPolicy: Disabled out of behavior",
            Self::WithinTolerance { .. } => "lower the tolerance in behavior",
            Self::HeldBySilence { wished, .. } => {
                return said(format!(
                    "set onSilence: Follow on the stage, and it may go to {wished}"
                ));
            }
            Self::GateHolds { gate, .. } => {
                return said(format!("mend what gate {gate} looks at, or take the gate out"));
            }
            Self::GateUnread { gate, .. } => {
                return said(format!("mend the source of gate {gate}"));
            }
            Self::AwaitingPods { .. } => "see why the pods do not become Ready",
            Self::Stuck { .. } => {
                "look at the consumer of that partition: an item it cannot get past, or a thread that hangs; a restart settles a hang"
            }
            Self::Stopped { .. } => {
                "see why nothing is committed: the consumers' logs, and what they write to"
            }
            Self::SpikeUnconfirmed { .. } => {
                "nothing, if the number is right: the next reading settles it"
            }
            Self::NoEffect { .. } => {
                "find what the replicas wait for; when a fifth more or less arrives or gets done, this ends at once"
            }
            Self::LetEnd { .. } => "nothing: work that has begun is never ended by Penstock",
            Self::AwaitingRetry { .. } | Self::JobsFail { .. } => {
                "see the logs of the failed Jobs; one that is completed ends this at once"
            }
            Self::SchedulesItself { cron_job } => {
                return said(format!("set spec.suspend of CronJob {cron_job} to true"));
            }
            Self::SickConsumer { .. } => {
                "restart the pod that holds that partition; kafka-consumer-groups --describe names it"
            }
            Self::HotPartition { .. } => {
                "spread the keys better, add partitions, or make each replica faster"
            }
            Self::Uncommitted { .. } => {
                "state offsetReset: Earliest if the consumers begin there (auto.offset.reset); the first commits end this"
            }
            Self::UnusualArrivals { .. } => "see what feeds the queue",
            Self::SlowerReplicas { .. } => {
                "see what changed in the workload, or in what it writes to"
            }
            Self::LongerRebalances { .. } => {
                "cooperative assignment, or static members (group.instance.id), shorten the pause"
            }
            Self::SourceDoubted { .. } => {
                "see whether that server has lost its data; to go down at once, pin penstock.dev/paused-replicas"
            }
            Self::NoFreshData { .. } | Self::AwaitingData { .. } => {
                "mend the source, or state a fallback for the time without it"
            }
            Self::OffsetsReset { .. } => {
                "nothing, if someone reset the offsets on purpose: the next reading settles it"
            }
            Self::Fallback { .. } => "mend the source, or change fallback",
            Self::NoSources => "add a source to the stage",
            Self::Observed { .. } => "set mode: Enforce",
            Self::Paused { .. } | Self::PinnedByAnnotation { .. } | Self::ForcedActive { .. } => {
                "take the annotation off the pipeline"
            }
            Self::WriterConflict { .. } => {
                "stop the other writer: take spec.replicas out of what it applies, or remove this pipeline"
            }
            Self::HpaOnTarget { .. } => "delete the HorizontalPodAutoscaler, or remove this stage",
            Self::TargetTaken { .. } => {
                "let one pipeline name this target, or have this one watch it by mode: Observe"
            }
            Self::TargetUnusable { code, message }
                if code == "NotFound" && message.contains("CronJob") =>
            {
                "create the CronJob, with suspend: true, or mend jobs.templateRef.name"
            }
            Self::TargetUnusable { code, message }
                if code == "Forbidden" && message.contains(".batch") =>
            {
                "grant the rights that docs/jobs.md prints; with the chart: jobs.enabled=true"
            }
            Self::TargetLimit { .. } => "change that limit on the target, if it is one of yours",
            Self::TargetUnusable { .. } => "mend the target's name, kind or permissions",
            Self::WriteRefused { .. } => {
                "see the message: rights, admission or quota stand in the way"
            }
            Self::TakenOver { .. } => {
                "take spec.replicas out of what others write, or pause the pipeline before scaling by hand"
            }
            Self::Nodes(nodes) => return nodes.hint().map(Cow::Borrowed),
            Self::FleetBudget { .. }
            | Self::TargetUnseen
            | Self::WriteInFlight
            | Self::OutcomeUnknown { .. }
            | Self::AwaitingReading { .. }
            | Self::TooSoon { .. }
            | Self::PromiseBroken { .. }
            | Self::InternalError { .. } => return None,
        }))
    }
}
