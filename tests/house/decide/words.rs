//! Every reason has one code, one sentence and, where something can be done, one hint.

use std::collections::BTreeSet;
use std::time::Duration;

use insta::assert_snapshot;
use penstock::decide::{Cause, Grip, Nodes, Reason, Room, RoomVerdict, Thing};

use super::story::{pipeline_id, time};

pub(crate) fn every_reason() -> Vec<Reason> {
    let until = time(3600);
    let text = |text: &str| text.to_owned();
    let minutes = Duration::from_mins;
    vec![
        Reason::Threshold {
            source: text("orders"),
            lag: 23_500.0,
            per_replica: 1000.0,
            wished: 24,
        },
        Reason::CatchUp { lag: 182_437, delay: 41.3, objective: 30.0, rate: 48.234, wished: 12 },
        Reason::KeepUp { arrivals: 320.0, rate: 48.234, wished: 7 },
        Reason::KeepAhead { arrivals: 320.0, rate: 48.234, wished: 7 },
        Reason::KeepRoom { arrivals: 320.0, surge: 1.83, startup: 240.0, wished: 13 },
        Reason::KeepLevel { wished: 48, kept: 16 },
        Reason::Forecast { arrivals: 320.0, expected: 402.0, startup: 240.0, wished: 9 },
        Reason::InTime { lag: 182_437, by: until, rate: 48.234, wished: 2 },
        Reason::Overdue { lag: 1200, by: until, rate: 48.234, wished: 6 },
        Reason::Gathering { replicas: 0, lag: 1200, by: until, begins: time(3420), work: 25.0 },
        Reason::Cheaper {
            replicas: 0,
            lag: 1200,
            by: until,
            begins: time(1800),
            now: 100.0,
            then: 40.0,
        },
        Reason::Combined { wants: vec![(text("late"), 3.5), (text("parsed"), 2.0)], wished: 7 },
        Reason::CombineFailed { message: text("it gives NaN") },
        Reason::Steady { delay: 2.04, objective: 60.0 },
        Reason::OnSlack {
            wished: 12,
            keeps_up: 16,
            arrivals: 1150.0,
            delay: 3.2,
            objective: 60.0,
            lasts: 350.0,
        },
        Reason::Learning { replicas: 3 },
        Reason::Woken { source: text("orders"), items: 1 },
        Reason::WokenAhead { arrivals: 320.0 },
        Reason::Probing { replicas: 6, at_least: 2.5 },
        Reason::Relearning { wished: 4, rate: 48.234 },
        Reason::KeptAwake { objective: 30.0, wake: 47.0, replicas: 1 },
        Reason::Idle { since: until, replicas: 0 },
        Reason::PartitionBound { wished: 31, partitions: 24 },
        Reason::Breakpoint { wished: 9, partitions: 48, per_consumer: 5 },
        Reason::AtMin { wished: 1, min: 3 },
        Reason::AtMax { wished: 31, max: 20 },
        Reason::AtScheduledMin { wished: 1, min: 4, schedule: text("trading"), until: Some(until) },
        Reason::AtScheduledMax { wished: 31, max: 5, schedule: text("night"), until: None },
        Reason::HeldByWindow { wished: 7, peak: 12, window: minutes(5) },
        Reason::HeldSinceStart { wished: 7, kept: 12, until },
        Reason::HeldByUpWindow { wished: 12, lowest: 7, window: Duration::from_secs(30) },
        Reason::LimitedByPolicy { wished: 24, limit: 8, period: Duration::from_secs(15) },
        Reason::DirectionDisabled { wished: 3, is_up: false },
        Reason::WithinTolerance { wished: 21, tolerance: 0.1 },
        Reason::HeldBySilence { wished: 2, until },
        Reason::DownstreamFull { wished: 7, stage: "sink".to_owned() },
        Reason::OverBudget {
            wished: 7,
            granted: 4,
            budget: "team".to_owned(),
            first: None,
            equals: 2,
        },
        Reason::OverQuota {
            wished: 7,
            granted: 4,
            quota: "compute".into(),
            room: Room { of: Thing::Memory, hard: 17_179_869_184.0, left: 6_710_886_400.0 },
            first: None,
            equals: 0,
            is_awaited: false,
        },
        Reason::GateHolds {
            gate: "quality".into(),
            value: 3.0,
            hold_when: "value > 0.0".into(),
            since: None,
        },
        Reason::GateUnread {
            gate: text("quality"),
            label: text("Unreachable"),
            message: text("nobody answers at checks:80"),
        },
        Reason::AwaitingPods { wished: 3, ready: 2 },
        Reason::Stuck {
            source: text("orders"),
            partition: 7,
            stuck: 1,
            of: 24,
            lag: 1820,
            since: until,
        },
        Reason::Stopped { source: text("orders"), of: 24, lag: 182_000, since: until },
        Reason::SpikeUnconfirmed {
            source: text("late"),
            value: 90_000.0,
            usual: 40.0,
            kept: 8,
            wished: 48,
        },
        Reason::NoEffect {
            wished: 24,
            from: 8,
            to: 12,
            before: 402.0,
            after: 409.0,
            is_uneven: false,
            until,
        },
        Reason::LetEnd { wished: 2, running: 5 },
        Reason::AwaitingReading { wished: 7, running: 5, ended: 2 },
        Reason::AwaitingRetry { wished: 4, jobs: 5, until },
        Reason::SchedulesItself { cron_job: text("backfill") },
        Reason::JobsFail {
            jobs: 3,
            message: text("BackoffLimitExceeded: it has failed too often"),
        },
        Reason::SickConsumer {
            source: text("orders"),
            partition: 7,
            partitions: 3,
            rate: 0.4,
            usual: 48.2,
        },
        Reason::HotPartition {
            source: text("orders"),
            topic: Some(text("eu")),
            partition: 7,
            arrives: 62.4,
            rate: 48.2,
        },
        Reason::Uncommitted { source: text("orders"), partitions: 3, of: 24 },
        Reason::UnusualArrivals { rate: 12.0, usual: 320.0, since: until },
        Reason::SlowerReplicas { rate: 31.0, usual: 48.2 },
        Reason::LongerRebalances { pause: 24.0, usual: 6.1 },
        Reason::Nodes(Nodes::Short {
            pool: text("spot"),
            lacking: 5,
            heir: Some(text("on-demand")),
            sign: text("InsufficientCapacityError: no m5.large in eu-1a"),
        }),
        Reason::Nodes(Nodes::Going { pool: text("spot"), doomed: 3, until: Some(until) }),
        Reason::Nodes(Nodes::Unready {
            pool: text("spot"),
            pods: 3,
            heir: Some(text("on-demand")),
        }),
        Reason::Nodes(Nodes::Shared { pool: text("on-demand"), share: 5, carried: 3 }),
        Reason::Nodes(Nodes::Undescribed { pool: text("spot") }),
        Reason::Nodes(Nodes::RoleOnSpot { stage: 0, lane: 1, pool: text("spot") }),
        Reason::Nodes(Nodes::Emptying { wished: 7, pods: 5, nodes: 2 }),
        Reason::Nodes(Nodes::CostsOfAnother { writer: text("karpenter"), pods: 12 }),
        Reason::Nodes(Nodes::CostsRefused { message: text("pods is forbidden") }),
        Reason::Nodes(Nodes::OthersWent { left: 1, of: 5 }),
        Reason::Nodes(Nodes::DrainHeld {
            pool: text("spot"),
            grip: Grip::Tight { least: 7, until },
        }),
        Reason::Nodes(Nodes::DrainOver { budget: text("penstock-deployment-sink") }),
        Reason::Nodes(Nodes::LetGo { pool: text("spot"), pods: 1 }),
        Reason::Nodes(Nodes::DrainOfAnother { pool: text("spot"), budget: text("sink") }),
        Reason::Nodes(Nodes::DrainRefused { message: text("pods is forbidden") }),
        Reason::Nodes(Nodes::RoomKept(RoomVerdict {
            pool: Some("spot".into()),
            replicas: 5,
            placed: Some(3),
            why: Cause::Spare { fullest: 5, beside: 0 },
            is_only_told: false,
        })),
        Reason::Nodes(Nodes::RoomRefused { message: text("deployments.apps is forbidden") }),
        Reason::Nodes(Nodes::RoomTroubled { room: 5, message: text("exceeded quota: cpu") }),
        Reason::NoFreshData {
            source: text("orders"),
            label: text("BrokerDown"),
            message: text("no broker of kafka:9092 answers"),
        },
        Reason::AwaitingData { source: text("orders") },
        Reason::OffsetsReset { source: text("orders") },
        Reason::Fallback { policy: text("AtLeast"), replicas: 6, blind: minutes(2) },
        Reason::NoSources,
        Reason::Observed { would_be: 24 },
        Reason::Paused { annotation: text("penstock.dev/paused"), would_be: 24 },
        Reason::PinnedByAnnotation { replicas: 3 },
        Reason::ForcedActive { replicas: 1 },
        Reason::WriterConflict { manager: text("argocd-controller"), until },
        Reason::TakenOver { manager: text("kubectl-scale"), theirs: 7 },
        Reason::HpaOnTarget { hpa: text("keda-hpa-enrich") },
        Reason::TargetTaken { by: pipeline_id() },
        Reason::TargetLimit {
            wished: 9,
            kept: 6,
            limit: text("maxReplicas of this worker group is 6"),
        },
        Reason::TargetUnusable {
            code: text("NotFound"),
            message: text("there is no Deployment shop/enrich"),
        },
        Reason::TargetUnseen,
        Reason::WriteInFlight,
        Reason::OutcomeUnknown { message: text("no answer came") },
        Reason::TooSoon { wished: 12, until },
        Reason::FleetBudget { wished: 2, until },
        Reason::SourceDoubted { wished: 2, origin: text("kafka:9092"), until },
        Reason::WriteRefused { code: 403, message: text("quota exceeded"), until },
        Reason::PromiseBroken { promise: text("never above max") },
        Reason::InternalError { message: text("index out of bounds") },
    ]
}

#[test]
fn every_reason_has_one_code_of_the_closed_list() {
    let codes: Vec<_> = every_reason().iter().map(Reason::code).collect();
    assert_eq!(codes, Reason::CODES);
    let different: BTreeSet<_> = codes.iter().collect();
    assert_eq!(different.len(), codes.len());
}

#[test]
fn every_reason_comes_back_from_json() {
    for reason in every_reason() {
        let text = serde_json::to_string(&reason).unwrap();
        assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), reason);
    }
}

#[test]
fn the_sentences_are_worth_reading_aloud() {
    let told = every_reason().into_iter().map(|reason| {
        let hint = reason.hint().map(|hint| format!("\n    to change this: {hint}"));
        format!("{}\n    {reason}{}\n", reason.code(), hint.unwrap_or_default())
    });
    assert_snapshot!(told.collect::<String>(), @r"
        Threshold
            24 replicas: orders stands at 23500, and each replica may have 1000
            to change this: set perReplica to 2000 for 12 replicas
        CatchUp
            12 replicas: 182000 messages wait, the oldest for 41 s; at 48.2/s each, 12 work it off within 30 s
            to change this: change objective.maxDelay, or make each replica faster
        KeepUp
            7 replicas: 320/s arrive, and one gets through 48.2/s
            to change this: change objective.maxDelay, or make each replica faster
        KeepAhead
            7 replicas: the stages before it are about to send 320/s, and one gets through 48.2/s
            to change this: change objective.maxDelay, or make each replica faster
        KeepRoom
            13 replicas: 320/s arrive, up to 1.83 times that has come within the 4 min that pods take to start
            to change this: change objective.maxDelay, or make each replica faster
        KeepLevel
            16 replicas: this moment asks for 48, and bursts like those of late are over before new pods are at work; 16 would have been enough for each
            to change this: change objective.maxDelay, or make each replica faster
        Forecast
            9 replicas: 320/s arrive, and 402/s are usual at this time of day by when new pods are at work, in 4 min
            to change this: state forecast: {mode: Off} to go by what arrives now
        InTime
            2 replicas: 182000 messages wait, to be done by 2026-01-01 01:00 UTC; at 48.2/s each they are
            to change this: state a later objective.doneBy for fewer, or make each replica faster
        Overdue
            6 replicas: 1200 messages wait and should have been done by 2026-01-01 01:00 UTC; one gets through 48.2/s
            to change this: raise replicas.max, or state a later objective.doneBy
        Gathering
            0 replicas: 1200 messages wait, 25 s of work for one; it is to be done by 2026-01-01 01:00 UTC, and begun when more has gathered or at 2026-01-01 00:57 UTC
            to change this: state objective.maxDelay instead of doneBy to have it done as it comes
        Cheaper
            0 replicas: 1200 messages wait, to be done by 2026-01-01 01:00 UTC; the cheaper hours from 2026-01-01 00:30 UTC on have time for all of it, when nodes cost 40 % of their price and not 100 %
            to change this: state an earlier objective.doneBy, or other price.hours of the CapacityPools it runs on, to have it done sooner
        Combined
            7 replicas by combine.expression: late wants 3.5, parsed wants 2
            to change this: change combine.expression, or what the sources it names want
        CombineFailed
            held: combine.expression gives no count of replicas: it gives NaN
            to change this: see that combine.expression gives a number of 0 or more whatever its sources want
        Steady
            the present count fits: the oldest message has waited 2 s of 60 s
            to change this: change objective.maxDelay, or make each replica faster
        OnSlack
            12 replicas for about 5 min 50 s: 16 would keep up with 1150/s, but the oldest message has waited 3.2 s of 60 s, and the delay grows slowly
            to change this: state objective.prefer: Latency to keep up at all times
        Learning
            3 replicas to learn from: how much one gets through is not known yet, and shows once it has been busy for two commits
            to change this: state ratePerReplica on the stage to skip learning
        Woken
            woken from zero: 1 message in orders
            to change this: raise the source's activation to sleep through small amounts
        WokenAhead
            woken from zero: the stages before it are about to send 320/s
            to change this: raise the source's activation to sleep through small amounts
        Probing
            6 replicas for a try: nothing waits, and one replica was never busy enough to show more than 2.5/s
            to change this: state ratePerReplica on the stage to skip trying
        Relearning
            kept: 4 would do at 48.2/s each, but pods showed that with other CPU than they have now
            to change this: nothing: busy pods show what they get through within a minute, and fewer are tried once it is quiet
        KeptAwake
            1 replica kept awake: waking from zero takes 47 s, and 30 s are promised
            to change this: raise objective.maxDelay to 47s, or state idle: {replicas: 0, after: 5m} to sleep all the same
        Idle
            0 replicas: nothing has waited or arrived since 01:00:00 UTC
            to change this: state idle.replicas and idle.after to keep more, or for longer
        PartitionBound
            24 replicas, one for each partition: 31 were wished, and more than 24 would stand idle
            to change this: add partitions to the topic: 31 replicas need as many
        Breakpoint
            9 replicas would do if partitions could be split among them; the busiest of 10 holds 5 of the 48, and of fewer at least 6
            to change this: choose a partition count with more divisors
        AtMin
            kept at min 3: 1 would do
            to change this: lower replicas.min to 1
        AtMax
            kept at max 20: 31 are wished
            to change this: raise replicas.max to 31
        AtScheduledMin
            kept at min 4 by schedule trading until 2026-01-01 01:00 UTC: 1 would do
            to change this: change replicas of schedule trading, or when it holds
        AtScheduledMax
            kept at max 5 by schedule night: 31 are wished
            to change this: change replicas of schedule night, or when it holds
        HeldByWindow
            kept at 12: 7 would do now, but 12 were needed within the last 5 min
            to change this: wait, or set behavior.scaleDown.stabilizationWindowSeconds to 0, and it goes to 7 at once
        HeldSinceStart
            kept at 12: 7 would do now, but what was needed before is not known; until 01:00:00 UTC
            to change this: wait, or set behavior.scaleDown.stabilizationWindowSeconds to 0, and it goes to 7 at once
        HeldByUpWindow
            kept at 7: 12 are wished now, but not throughout the last 30 s, as scaleUp.stabilizationWindowSeconds asks
            to change this: lower behavior.scaleUp.stabilizationWindowSeconds
        LimitedByPolicy
            8 replicas for now: 24 are wished, and a policy of behavior allows no more change within 15 s
            to change this: widen the policies of behavior
        DirectionDisabled
            kept: 3 are wished, and behavior.scaleDown is disabled
            to change this: take selectPolicy: Disabled out of behavior
        WithinTolerance
            kept: 21 are wished, which is within the tolerance of 10 %
            to change this: lower the tolerance in behavior
        HeldBySilence
            kept: arrivals stopped all at once, and a dead producer returns with its backlog; 2 would do now; until 01:00:00 UTC
            to change this: set onSilence: Follow on the stage, and it may go to 2
        DownstreamFull
            kept: 7 would do, but stage sink after it is late with all the replicas it may have, and more would only wait there
            to change this: raise replicas.max of the stage after it
        OverBudget
            budget team leaves 4 of 7 replicas: it is shared evenly with 2 more
            to change this: raise the limits of CapacityBudget team
        OverQuota
            ResourceQuota compute leaves 4 of 7 replicas: pipelines have 6.25Gi of its 16Gi requests.memory
            to change this: raise requests.memory of ResourceQuota compute
        GateHolds
            held by gate quality: value > 0.0, and value is 3
            to change this: mend what gate quality looks at, or take the gate out
        GateUnread
            not lowered: gate quality cannot be read (Unreachable: nobody answers at checks:80), and not knowing is neither yes nor no
            to change this: mend the source of gate quality
        AwaitingPods
            kept: 3 would do now, but only 2 of the pods asked for are Ready yet
            to change this: see why the pods do not become Ready
        Stuck
            partition 7 of orders is left out of the count: its consumer has stood still since 01:00:00 UTC while the others moved; 1820 messages wait there and still count as late
            to change this: look at the consumer of that partition: an item it cannot get past, or a thread that hangs; a restart settles a hang
        Stopped
            no consumer of orders has committed since 01:00:00 UTC though 182000 messages wait: neither more nor fewer replicas would change that
            to change this: see why nothing is committed: the consumers' logs, and what they write to
        SpikeUnconfirmed
            at most 8 replicas until a second reading agrees: late says 90000, and said no more than 40 within the last 10 min; 48 would be wished
            to change this: nothing, if the number is right: the next reading settles it
        NoEffect
            kept: 24 are wished, but the last steps up got no more done (402/s with 8, 409/s with 12); the limit seems to be something the replicas share, as a database, an API or the broker; until 01:00:00 UTC
            to change this: find what the replicas wait for; when a fifth more or less arrives or gets done, this ends at once
        LetEnd
            2 would do, and 5 Jobs run: no more are made, and those that run are let end
            to change this: nothing: work that has begun is never ended by Penstock
        AwaitingReading
            7 would do, 5 Jobs run, and 2 have ended since the sources were read: more are made if the next reading still asks for them
        AwaitingRetry
            4 would do, but the last 5 rounds of Jobs have all failed: no more are made until 01:00:00 UTC
            to change this: see the logs of the failed Jobs; one that is completed ends this at once
        SchedulesItself
            CronJob backfill is not suspended: it makes Jobs by its own schedule too, which Penstock neither counts nor limits
            to change this: set spec.suspend of CronJob backfill to true
        JobsFail
            the last 3 rounds of Jobs have all failed, the latest with BackoffLimitExceeded: it has failed too often
            to change this: see the logs of the failed Jobs; one that is completed ends this at once
        SickConsumer
            one consumer of orders is sick: the one that holds partition 7 and 2 more gets through 0.4/s while the others are well and 48.2/s is usual; nothing is learned from it
            to change this: restart the pod that holds that partition; kafka-consumer-groups --describe names it
        HotPartition
            partition 7 of eu (orders) is hot: 62.4/s arrive in it alone, one replica gets through 48.2/s, and only one can read it
            to change this: spread the keys better, add partitions, or make each replica faster
        Uncommitted
            3 of 24 partitions of orders count as read to the end, since the group has committed nothing there and offsetReset is Latest: if its consumers begin at the earliest, all that is in them waits unseen
            to change this: state offsetReset: Earliest if the consumers begin there (auto.offset.reset); the first commits end this
        UnusualArrivals
            arrivals are unusual for this time of day since 01:00:00 UTC: 12/s, and 320/s is usual
            to change this: see what feeds the queue
        SlowerReplicas
            replicas have become slower: one gets through 31/s, and 48.2/s was usual
            to change this: see what changed in the workload, or in what it writes to
        LongerRebalances
            rebalances have become longer: the group pauses for 24 s, and 6.1 s was usual
            to change this: cooperative assignment, or static members (group.instance.id), shorten the pause
        PoolShort
            pool spot gives no nodes for 5 replicas (InsufficientCapacityError: no m5.large in eu-1a); on-demand carries what is lacking
        NodesGoing
            3 replicas of pool spot stand on nodes that are about to go, by 01:00:00 UTC; replacements are started first
        PodsNotReady
            3 pods of pool spot have a node and do not get ready; on-demand carries what is lacking
            to change this: see why they do not, by the events and the log of one, and by its node
        LaneShare
            5 replicas of the stage fall to pool on-demand, and it carries 3 that others lack
        PoolUndescribed
            no CapacityPool is named spot: neither that its nodes are about to go nor that it gives none can be seen
            to change this: write the CapacityPool; penstock pools --propose prints what fits this cluster
        RoleOnSpot
            spec.stages[0].lanes[1].pool: spot is of class Spot, whose nodes are taken away, and no other takes over from a Driver or Stateful pod
            to change this: name a pool of class OnDemand or Reserved; where another takes over, leave out capacity.role
        EmptyingNodes
            7 replicas would do; the 5 pods to go are told first, so that 2 nodes become empty
        DeletionCostTaken
            karpenter writes the deletion cost of 12 pods: which pods go first is left to it
            to change this: to have nodes emptied, let nobody but Penstock write deletion costs on these pods
        DeletionCostRefused
            which pods go first could not be told, so no node is emptied: pods is forbidden
            to change this: the chart gives the right to patch pods with --set packing.enabled=true
        OtherPodsWent
            of 5 pods that the last step was to take, 1 is still there: others went instead
        DrainHeld
            evictions from pool spot wait until more than 7 replicas of it are ready, at most until 01:00:00 UTC
        DrainOver
            PodDisruptionBudget penstock-deployment-sink is taken away, and holds nobody up
        LetGo
            1 pod of pool spot has to end now, to be done before the node is taken away
        DrainOfAnother
            PodDisruptionBudget sink selects pods of pool spot: who may evict them is left to it
            to change this: to have Penstock hold drains, delete that PodDisruptionBudget
        DrainRefused
            nodes are drained as ever, whatever is ready elsewhere: pods is forbidden
            to change this: the chart gives the rights with --set draining.enabled=true
        HeadroomKept
            room for 5 replicas on spot is kept: 5 stand on its fullest node, which may go at short notice
        HeadroomRefused
            no room can be kept for what may come: deployments.apps is forbidden
            to change this: the chart gives the rights, and makes the PriorityClass, with --set headroom.enabled=true
        HeadroomShort
            the room for 5 replicas is not all there: exceeded quota: cpu
        NoFreshData
            held: orders gives no fresh, complete reading (BrokerDown: no broker of kafka:9092 answers), and not knowing is not zero
            to change this: mend the source, or state a fallback for the time without it
        AwaitingData
            held: orders has not answered yet
            to change this: mend the source, or state a fallback for the time without it
        OffsetsReset
            held: offsets of orders went backwards, as after a reset or a recreated topic; a second reading must agree
            to change this: nothing, if someone reset the offsets on purpose: the next reading settles it
        Fallback
            6 replicas by fallback AtLeast: no source has answered completely for 2 min
            to change this: mend the source, or change fallback
        NoSources
            held: the stage has no source to size it by
            to change this: add a source to the stage
        Observed
            mode Observe: 24 replicas would be written
            to change this: set mode: Enforce
        Paused
            paused by penstock.dev/paused: 24 replicas would be written
            to change this: take the annotation off the pipeline
        PinnedByAnnotation
            3 replicas, as penstock.dev/paused-replicas states
            to change this: take the annotation off the pipeline
        ForcedActive
            1 replica kept, as penstock.dev/force-activation asks
            to change this: take the annotation off the pipeline
        WriterConflict
            no write until 01:00:00 UTC: argocd-controller writes this replica count too
            to change this: stop the other writer: take spec.replicas out of what it applies, or remove this pipeline
        TakenOver
            taken over once: kubectl-scale had set 7 replicas
            to change this: take spec.replicas out of what others write, or pause the pipeline before scaling by hand
        HpaOnTarget
            no write: HorizontalPodAutoscaler keda-hpa-enrich scales the same target
            to change this: delete the HorizontalPodAutoscaler, or remove this stage
        TargetTaken
            no write: shop/orders scales the same target
            to change this: let one pipeline name this target, or have this one watch it by mode: Observe
        TargetLimit
            kept at 6: 9 would do, but maxReplicas of this worker group is 6
            to change this: change that limit on the target, if it is one of yours
        TargetUnusable
            held: the target cannot be scaled: there is no Deployment shop/enrich
            to change this: mend the target's name, kind or permissions
        TargetUnseen
            held: the target has not been looked up yet
        WriteInFlight
            held: the last write has not come back through the watch yet
        OutcomeUnknown
            held: whether the last write was carried out is not known (no answer came); the target is read first
        TooSoon
            12 replicas at 01:00:00 UTC: the last write is too young
        FleetBudget
            kept: many pipelines are being lowered at once, and this one waits its turn to go to 2; until 01:00:00 UTC
        SourceDoubted
            kept: many pipelines that ask kafka:9092 fell silent at once, which may be its own doing; 2 replicas once that has lasted, at 01:00:00 UTC
            to change this: see whether that server has lost its data; to go down at once, pin penstock.dev/paused-replicas
        WriteRefused
            the API server refused the write (403: quota exceeded); tried again at 01:00:00 UTC
            to change this: see the message: rights, admission or quota stand in the way
        PromiseBroken
            held: the decision broke a promise of Penstock's own (never above max); please report it
        InternalError
            held: deciding this pipeline failed in Penstock's own code (index out of bounds); please report it
        ");
}
