//! The sentence of each reason, worth reading aloud. Called by report, answer and the command line through [`Reason`]; `reason` lists the
//! causes, `hints` says how to change them, this file only words them.

use std::fmt;

use super::capacity::Room;
use super::figures::{
    bytes, clock, count, day, number, replicas, seconds, span, until_when, waiting,
};
use super::reason::Reason;

impl fmt::Display for Reason {
    #[expect(
        clippy::too_many_lines,
        reason = "one arm for each cause; a list is read, not followed"
    )]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threshold { source, lag, per_replica, wished } => write!(
                f,
                "{}: {source} stands at {}, and each replica may have {}",
                replicas(*wished),
                number(*lag),
                number(*per_replica)
            ),
            Self::CatchUp { lag, delay, objective, rate, wished } => {
                write!(
                    f,
                    "{}: {} {}",
                    replicas(*wished),
                    count(*lag, "message"),
                    if *lag == 1 { "waits" } else { "wait" }
                )?;
                if *delay > 0.0 {
                    write!(f, ", the oldest for {}", seconds(*delay))?;
                }
                let work = if *wished == 1 { "works" } else { "work" };
                write!(
                    f,
                    "; at {}/s each, {wished} {work} it off within {}",
                    number(*rate),
                    seconds(*objective)
                )
            }
            Self::KeepUp { arrivals, rate, wished } => write!(
                f,
                "{}: {}/s arrive, and one gets through {}/s",
                replicas(*wished),
                number(*arrivals),
                number(*rate)
            ),
            Self::KeepAhead { arrivals, rate, wished } => write!(
                f,
                "{}: the stages before it are about to send {}/s, and one gets through {}/s",
                replicas(*wished),
                number(*arrivals),
                number(*rate)
            ),
            Self::KeepLevel { wished, kept } => write!(
                f,
                "{}: this moment asks for {wished}, and bursts like those of late are over before new pods are at work; {kept} would have been enough for each",
                replicas(*kept)
            ),
            Self::KeepRoom { arrivals, surge, startup, wished } => write!(
                f,
                "{}: {}/s arrive, up to {} times that has come within the {} that pods take to start",
                replicas(*wished),
                number(*arrivals),
                number(*surge),
                seconds(*startup)
            ),
            Self::Forecast { arrivals, expected, startup, wished } => write!(
                f,
                "{}: {}/s arrive, and {}/s are usual at this time of day by when new pods are at work, in {}",
                replicas(*wished),
                number(*arrivals),
                number(*expected),
                seconds(*startup)
            ),
            Self::InTime { lag, by, rate, wished } => write!(
                f,
                "{}: {}, to be done by {}; at {}/s each they are",
                replicas(*wished),
                waiting(*lag),
                day(*by),
                number(*rate)
            ),
            Self::Overdue { lag, by, rate, wished } => write!(
                f,
                "{}: {} and should have been done by {}; one gets through {}/s",
                replicas(*wished),
                waiting(*lag),
                day(*by),
                number(*rate)
            ),
            Self::Gathering { replicas: n, lag: 0, by, .. } => {
                write!(f, "{}: nothing waits to be done by {}", replicas(*n), day(*by))
            }
            Self::Gathering { replicas: n, lag, by, begins, work } => write!(
                f,
                "{}: {}, {} of work for one; it is to be done by {}, and begun when more has gathered or at {}",
                replicas(*n),
                waiting(*lag),
                seconds(*work),
                day(*by),
                day(*begins)
            ),
            Self::Cheaper { replicas: n, lag, by, begins, now, then } => write!(
                f,
                "{}: {}, to be done by {}; the cheaper hours from {} on have time for all of it, when nodes cost {then:.0} % of their price and not {now:.0} %",
                replicas(*n),
                waiting(*lag),
                day(*by),
                day(*begins)
            ),
            Self::Combined { wants, wished } => {
                write!(f, "{} by combine.expression", replicas(*wished))?;
                wants.iter().enumerate().try_for_each(|(at, (source, want))| {
                    let before = if at == 0 { ":" } else { "," };
                    write!(f, "{before} {source} wants {}", number(*want))
                })
            }
            Self::CombineFailed { message } => {
                write!(f, "held: combine.expression gives no count of replicas: {message}")
            }
            Self::Steady { delay, objective } if *delay > 0.0 => write!(
                f,
                "the present count fits: the oldest message has waited {} of {}",
                seconds(*delay),
                seconds(*objective)
            ),
            Self::OnSlack { wished, keeps_up, arrivals, delay, objective, lasts } => write!(
                f,
                "{} for about {}: {} would keep up with {}/s, but the oldest message has waited {} of {}, and the delay grows slowly",
                replicas(*wished),
                seconds(*lasts),
                number(f64::from(*keeps_up)),
                number(*arrivals),
                seconds(*delay),
                seconds(*objective)
            ),
            Self::Steady { objective, .. } => {
                write!(
                    f,
                    "the present count fits: nothing waits, and {} are allowed",
                    seconds(*objective)
                )
            }
            Self::Learning { replicas: n } => write!(
                f,
                "{} to learn from: how much one gets through is not known yet, and shows once it has been busy for two commits",
                replicas(*n)
            ),
            Self::Woken { source, items } => {
                write!(f, "woken from zero: {} in {source}", count(*items, "message"))
            }
            Self::WokenAhead { arrivals } => write!(
                f,
                "woken from zero: the stages before it are about to send {}/s",
                number(*arrivals)
            ),
            Self::Probing { replicas: n, at_least } => write!(
                f,
                "{} for a try: nothing waits, and one replica was never busy enough to show more than {}/s",
                replicas(*n),
                number(*at_least)
            ),
            Self::Relearning { wished, rate } => write!(
                f,
                "kept: {wished} would do at {}/s each, but pods showed that with other CPU than they have now",
                number(*rate)
            ),
            Self::KeptAwake { objective, wake, replicas: n } => write!(
                f,
                "{} kept awake: waking from zero takes {}, and {} are promised",
                replicas(*n),
                seconds(*wake),
                seconds(*objective)
            ),
            Self::Idle { since, replicas: n } => {
                write!(f, "{}: nothing has waited or arrived since {}", replicas(*n), clock(*since))
            }
            Self::PartitionBound { wished, partitions } => write!(
                f,
                "{}, one for each partition: {wished} were wished, and more than {partitions} would stand idle",
                replicas(*partitions)
            ),
            Self::Breakpoint { wished, partitions, per_consumer } => write!(
                f,
                "{} would do if partitions could be split among them; the busiest of {} holds {per_consumer} of the {partitions}, and of fewer at least {}",
                replicas(*wished),
                partitions.div_ceil((*per_consumer).max(1)),
                per_consumer + 1
            ),
            Self::AtMin { wished, min } => {
                write!(f, "kept at min {min}: {wished} would do")
            }
            Self::AtMax { wished, max } => {
                write!(f, "kept at max {max}: {wished} are wished")
            }
            Self::AtScheduledMin { wished, min, schedule, until } => write!(
                f,
                "kept at min {min} by schedule {schedule}{}: {wished} would do",
                until_when(*until)
            ),
            Self::AtScheduledMax { wished, max, schedule, until } => write!(
                f,
                "kept at max {max} by schedule {schedule}{}: {wished} are wished",
                until_when(*until)
            ),
            Self::HeldByWindow { wished, peak, window } => write!(
                f,
                "kept at {peak}: {wished} would do now, but {peak} were needed within the last {}",
                span(*window)
            ),
            Self::HeldSinceStart { wished, kept, until } => write!(
                f,
                "kept at {kept}: {wished} would do now, but what was needed before is not known; until {}",
                clock(*until)
            ),
            Self::HeldByUpWindow { wished, lowest, window } => write!(
                f,
                "kept at {lowest}: {wished} are wished now, but not throughout the last {}, as scaleUp.stabilizationWindowSeconds asks",
                span(*window)
            ),
            Self::LimitedByPolicy { wished, limit, period } => write!(
                f,
                "{} for now: {wished} are wished, and a policy of behavior allows no more change within {}",
                replicas(*limit),
                span(*period)
            ),
            Self::DirectionDisabled { wished, is_up } => write!(
                f,
                "kept: {wished} are wished, and behavior.{} is disabled",
                if *is_up { "scaleUp" } else { "scaleDown" }
            ),
            Self::WithinTolerance { wished, tolerance } => write!(
                f,
                "kept: {wished} are wished, which is within the tolerance of {} %",
                number(tolerance * 100.0)
            ),
            Self::HeldBySilence { wished, until } => write!(
                f,
                "kept: arrivals stopped all at once, and a dead producer returns with its backlog; {wished} would do now; until {}",
                clock(*until)
            ),
            Self::DownstreamFull { wished, stage } => write!(
                f,
                "kept: {wished} would do, but stage {stage} after it is late with all the replicas it may have, and more would only wait there"
            ),
            Self::OverBudget { wished, granted, budget, first, equals } => {
                write!(f, "budget {budget} leaves {granted} of {}: ", replicas(*wished))?;
                match (first, equals) {
                    (Some(first), _) => write!(f, "{first} is served first"),
                    (None, 0) => f.write_str("it allows no more"),
                    (None, equals) => write!(f, "it is shared evenly with {equals} more"),
                }
            }
            Self::OverQuota { wished, granted, quota, room, first, equals, is_awaited } => {
                let amount = |of: f64| if room.of.is_in_bytes() { bytes(of) } else { number(of) };
                let Room { of, hard, left } = room;
                write!(
                    f,
                    "ResourceQuota {quota} leaves {granted} of {}: pipelines have {} of its {} {}",
                    replicas(*wished),
                    amount(left.max(0.0)),
                    amount(*hard),
                    of.name()
                )?;
                match (first, equals) {
                    _ if *is_awaited => f.write_str(", and some of that is given back first"),
                    (Some(first), _) => write!(f, ", and {first} is served first"),
                    (None, 0) => Ok(()),
                    (None, equals) => write!(f, ", shared evenly with {equals} more"),
                }
            }
            Self::GateHolds { gate, value, hold_when, since: None } => {
                write!(f, "held by gate {gate}: {hold_when}, and value is {}", number(*value))
            }
            Self::GateHolds { gate, value, hold_when, since: Some(since) } => write!(
                f,
                "held by gate {gate}: {hold_when}, and value was {} when it was last read, at {}",
                number(*value),
                clock(*since)
            ),
            Self::GateUnread { gate, label, message } => write!(
                f,
                "not lowered: gate {gate} cannot be read ({label}: {message}), and not knowing is neither yes nor no"
            ),
            Self::AwaitingPods { wished, ready } => write!(
                f,
                "kept: {wished} would do now, but only {ready} of the pods asked for are Ready yet"
            ),
            Self::Stuck { source, partition, stuck: 1, lag, since, .. } => write!(
                f,
                "partition {partition} of {source} is left out of the count: its consumer has stood still since {} while the others moved; {} there and still count as late",
                clock(*since),
                waiting(*lag)
            ),
            Self::Stuck { source, partition, stuck, of, lag, since } => write!(
                f,
                "{stuck} of {of} partitions of {source} are left out of the count (the first is {partition}): their consumers have stood still since {} while the others moved; {} there and still count as late",
                clock(*since),
                waiting(*lag)
            ),
            Self::Stopped { source, lag, since, .. } => write!(
                f,
                "no consumer of {source} has committed since {} though {}: neither more nor fewer replicas would change that",
                clock(*since),
                waiting(*lag)
            ),
            Self::SpikeUnconfirmed { source, value, usual, kept, wished } => write!(
                f,
                "at most {} until a second reading agrees: {source} says {}, and said no more than {} within the last 10 min; {wished} would be wished",
                replicas(*kept),
                number(*value),
                number(*usual)
            ),
            Self::NoEffect { wished, from, to, before, after, is_uneven, until } => write!(
                f,
                "kept: {wished} are wished, but the last steps up got no more done ({}/s with {from}, {}/s with {to}); the limit seems to be {}; until {}",
                number(*before),
                number(*after),
                if *is_uneven {
                    "one partition, where half of it waits"
                } else {
                    "something the replicas share, as a database, an API or the broker"
                },
                clock(*until)
            ),
            Self::LetEnd { wished, running } => write!(
                f,
                "{wished} would do, and {running} Jobs run: no more are made, and those that run are let end"
            ),
            Self::AwaitingReading { wished, running, ended } => write!(
                f,
                "{wished} would do, {running} Jobs run, and {ended} have ended since the sources were read: more are made if the next reading still asks for them"
            ),
            Self::AwaitingRetry { wished, jobs, until } => write!(
                f,
                "{wished} would do, but the last {jobs} rounds of Jobs have all failed: no more are made until {}",
                clock(*until)
            ),
            Self::SchedulesItself { cron_job } => write!(
                f,
                "CronJob {cron_job} is not suspended: it makes Jobs by its own schedule too, which Penstock neither counts nor limits"
            ),
            Self::JobsFail { jobs, message } => {
                write!(
                    f,
                    "the last {jobs} rounds of Jobs have all failed, the latest with {message}"
                )
            }
            Self::SickConsumer { source, partition, partitions, rate, usual } => write!(
                f,
                "one consumer of {source} is sick: the one that holds partition {partition}{} gets through {}/s while the others are well and {}/s is usual; nothing is learned from it",
                match partitions {
                    0 | 1 => String::new(),
                    n => format!(" and {} more", n - 1),
                },
                number(*rate),
                number(*usual)
            ),
            Self::HotPartition { source, topic, partition, arrives, rate } => write!(
                f,
                "partition {partition} of {} is hot: {}/s arrive in it alone, one replica gets through {}/s, and only one can read it",
                topic
                    .as_ref()
                    .map_or_else(|| source.clone(), |topic| format!("{topic} ({source})")),
                number(*arrives),
                number(*rate)
            ),
            Self::Uncommitted { source, partitions, of } => write!(
                f,
                "{partitions} of {of} partitions of {source} count as read to the end, since the group has committed nothing there and offsetReset is Latest: if its consumers begin at the earliest, all that is in them waits unseen"
            ),
            Self::UnusualArrivals { rate, usual, since } => write!(
                f,
                "arrivals are unusual for this time of day since {}: {}/s, and {}/s is usual",
                clock(*since),
                number(*rate),
                number(*usual)
            ),
            Self::SlowerReplicas { rate, usual } => write!(
                f,
                "replicas have become slower: one gets through {}/s, and {}/s was usual",
                number(*rate),
                number(*usual)
            ),
            Self::LongerRebalances { pause, usual } => write!(
                f,
                "rebalances have become longer: the group pauses for {}, and {} was usual",
                seconds(*pause),
                seconds(*usual)
            ),
            Self::Nodes(nodes) => nodes.fmt(f),
            Self::NoFreshData { source, label, message } => {
                write!(
                    f,
                    "held: {source} gives no fresh, complete reading ({label}: {message}), and not knowing is not zero"
                )
            }
            Self::AwaitingData { source } => write!(f, "held: {source} has not answered yet"),
            Self::OffsetsReset { source } => write!(
                f,
                "held: offsets of {source} went backwards, as after a reset or a recreated topic; a second reading must agree"
            ),
            Self::Fallback { policy, replicas: n, blind } => write!(
                f,
                "{} by fallback {policy}: no source has answered completely for {}",
                replicas(*n),
                span(*blind)
            ),
            Self::NoSources => f.write_str("held: the stage has no source to size it by"),
            Self::Observed { would_be } => {
                write!(f, "mode Observe: {} would be written", replicas(*would_be))
            }
            Self::Paused { annotation, would_be } => {
                write!(f, "paused by {annotation}: {} would be written", replicas(*would_be))
            }
            Self::PinnedByAnnotation { replicas: n } => {
                write!(f, "{}, as penstock.dev/paused-replicas states", replicas(*n))
            }
            Self::ForcedActive { replicas: n } => {
                write!(f, "{} kept, as penstock.dev/force-activation asks", replicas(*n))
            }
            Self::WriterConflict { manager, until } => write!(
                f,
                "no write until {}: {manager} writes this replica count too",
                clock(*until)
            ),
            Self::TakenOver { manager, theirs } => {
                write!(f, "taken over once: {manager} had set {}", replicas(*theirs))
            }
            Self::HpaOnTarget { hpa } => {
                write!(f, "no write: HorizontalPodAutoscaler {hpa} scales the same target")
            }
            Self::TargetTaken { by } => write!(f, "no write: {by} scales the same target"),
            Self::TargetLimit { wished, kept, limit } => {
                write!(f, "kept at {kept}: {wished} would do, but {limit}")
            }
            Self::TargetUnusable { message, .. } => {
                write!(f, "held: the target cannot be scaled: {message}")
            }
            Self::TargetUnseen => f.write_str("held: the target has not been looked up yet"),
            Self::WriteInFlight => {
                f.write_str("held: the last write has not come back through the watch yet")
            }
            Self::OutcomeUnknown { message } => {
                write!(
                    f,
                    "held: whether the last write was carried out is not known ({message}); the target is read first"
                )
            }
            Self::TooSoon { wished, until } => {
                write!(f, "{} at {}: the last write is too young", replicas(*wished), clock(*until))
            }
            Self::FleetBudget { wished, until } => write!(
                f,
                "kept: many pipelines are being lowered at once, and this one waits its turn to go to {wished}; until {}",
                clock(*until)
            ),
            Self::SourceDoubted { wished, origin, until } => write!(
                f,
                "kept: many pipelines that ask {origin} fell silent at once, which may be its own doing; {} once that has lasted, at {}",
                replicas(*wished),
                clock(*until)
            ),
            Self::WriteRefused { code, message, until } => {
                write!(
                    f,
                    "the API server refused the write ({code}: {message}); tried again at {}",
                    clock(*until)
                )
            }
            Self::PromiseBroken { promise } => {
                write!(
                    f,
                    "held: the decision broke a promise of Penstock's own ({promise}); please report it"
                )
            }
            Self::InternalError { message } => {
                write!(
                    f,
                    "held: deciding this pipeline failed in Penstock's own code ({message}); please report it"
                )
            }
        }
    }
}
