//! How others split a stage over on-demand and spot nodes, beside Penstock's lanes. How many replicas the stage needs is for all of them what
//! Penstock would say of it on nodes of one kind, so that only the split is compared.

use std::sync::Arc;

use super::super::penstock::Penstock;
use super::super::pilot::{Pilot, Why};
use super::super::policy::View;
use super::super::scenario::{Error, Scenario, StageWorld};
use super::lanes::plain;
use super::{Kind, LaneWorld};

/// What the rules are called on the command line. `fixed-share=N` has N per cent on spot.
pub const NAMES: [&str; 4] = ["all-on-demand", "all-on-spot", "fixed-share", "skyserve"];
/// Per cent on spot of a fixed share, where nobody says.
const SHARE: u32 = 70;
/// What `SkyServe` has beyond need on spot (`num_overprovision`).
const EXTRA: u32 = 2;

/// A rule that splits.
pub trait Rule: Send {
    /// What the table calls it.
    fn name(&self) -> String;

    /// Seconds between its looks at what is Ready; at 0 it looks whenever anything moves.
    fn period(&self) -> f64 {
        0.0
    }

    /// Replicas on demand and on spot, of so many, with so many Ready of each.
    fn split(&self, need: u32, ready: [u32; 2]) -> [u32; 2];
}

/// All on demand: what saves nothing and lacks nothing.
#[derive(Debug, Clone, Copy)]
pub struct AllOnDemand;

impl Rule for AllOnDemand {
    fn name(&self) -> String {
        "all on demand".to_owned()
    }

    fn split(&self, need: u32, _: [u32; 2]) -> [u32; 2] {
        [need, 0]
    }
}

/// All on spot, come what may.
#[derive(Debug, Clone, Copy)]
pub struct AllSpot;

impl Rule for AllSpot {
    fn name(&self) -> String {
        "all on spot".to_owned()
    }

    fn split(&self, need: u32, _: [u32; 2]) -> [u32; 2] {
        [0, need]
    }
}

/// A fixed split without fallback, as two node groups behind a spread constraint give.
#[derive(Debug, Clone, Copy)]
pub struct FixedShare {
    /// On demand first.
    pub base: u32,
    /// Of the rest, per cent on spot.
    pub share: u32,
}

impl Rule for FixedShare {
    fn name(&self) -> String {
        format!("{} and {} % on spot", self.base, self.share)
    }

    fn split(&self, need: u32, _: [u32; 2]) -> [u32; 2] {
        let spot = need.saturating_sub(self.base) * self.share / 100;
        [need - spot, spot]
    }
}

/// `SkyServe`'s rule (Mao et al., arXiv 2411.01438, section 4; `FallbackRequestRateAutoscaler` in skypilot-org/skypilot,
/// sky/serve/autoscalers.py): somewhat more spot than is needed, and on demand as many as spot that was wanted is not Ready. What counts is
/// what is Ready, not what was asked for, and spot is asked for all the time.
#[derive(Debug, Clone, Copy)]
pub struct SkyServe {
    /// `base_ondemand_fallback_replicas`.
    pub base: u32,
    /// `num_overprovision`.
    pub extra: u32,
}

impl Rule for SkyServe {
    fn name(&self) -> String {
        format!("SkyServe, base {}, extra {}", self.base, self.extra)
    }

    /// Its autoscaler decides every 20 s.
    fn period(&self) -> f64 {
        20.0
    }

    fn split(&self, need: u32, ready: [u32; 2]) -> [u32; 2] {
        let rest = need.saturating_sub(self.base);
        let wanted = if rest == 0 { 0 } else { rest + self.extra };
        // On demand fills up to the need, not to the overprovision.
        let lacking = wanted.saturating_sub(ready[1]).min(rest);
        [need.min(self.base) + lacking, wanted]
    }
}

/// Is a rule called so?
pub fn is_rule(name: &str) -> bool {
    NAMES.contains(&name) || name.starts_with("fixed-share=")
}

/// The lane that a rule wants and a scenario lacks, in words.
fn lacks(name: &str, scenario: &Scenario) -> Option<&'static str> {
    let has = |kind| {
        let mut lanes = scenario.stages.iter().filter(|stage| !stage.lanes.is_empty());
        let is_on = |stage: &StageWorld| stage.lanes.iter().any(|lane| lane.kind() == kind);
        lanes.clone().next().is_some() && lanes.all(is_on)
    };
    match name {
        "all-on-demand" => (!has(Kind::OnDemand)).then_some("on demand"),
        "all-on-spot" => (!has(Kind::Spot)).then_some("on spot"),
        _ => (!(has(Kind::OnDemand) && has(Kind::Spot))).then_some("on demand and one on spot"),
    }
}

/// The rules that a scenario has lanes for.
pub fn fitting(scenario: &Scenario) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().filter(|name| lacks(name, scenario).is_none())
}

/// The rule of this name for a scenario, as far as there is one: its base is that of the lanes which are not on spot, of the stage where it is largest.
///
/// # Errors
/// The scenario has no lanes that it could put pods on.
pub fn by_name(name: &str, scenario: &Scenario) -> Result<Option<Box<dyn Pilot>>, Error> {
    let share = match name.strip_prefix("fixed-share=") {
        Some(share) => share.parse().ok().filter(|share| *share <= 100),
        None => Some(SHARE),
    };
    let Some(share) = share.filter(|_| is_rule(name)) else { return Ok(None) };
    if let Some(lacks) = lacks(name, scenario) {
        let needs = format!("a stage with lanes, one {lacks}");
        return Err(Error::UnfitPolicy { name: name.to_owned(), needs });
    }
    let of = |world: &LaneWorld, lane: &crate::decide::Lane| {
        if world.kind() == Kind::OnDemand { lane.base } else { 0 }
    };
    let each = scenario.pipeline.stages.iter().zip(&scenario.stages);
    let base = each.map(|(stage, world)| world.lanes.iter().zip(&stage.lanes));
    let base = base.map(|lanes| lanes.map(|(world, lane)| of(world, lane)).sum()).max();
    let base = base.unwrap_or(0);
    Ok(Some(match name {
        "all-on-demand" => Box::new(Ruled::new(AllOnDemand, scenario)),
        "all-on-spot" => Box::new(Ruled::new(AllSpot, scenario)),
        "skyserve" => Box::new(Ruled::new(SkyServe { base, extra: EXTRA }, scenario)),
        _ => Box::new(Ruled::new(FixedShare { base, share }, scenario)),
    }))
}

/// A rule, told by Penstock how many replicas there shall be.
#[derive(Debug)]
pub struct Ruled<R> {
    rule: R,
    sizer: Penstock,
    stages: Vec<Ruling>,
    next: f64,
}

/// What a rule has decided of one stage.
#[derive(Debug, Default)]
struct Ruling {
    kinds: Vec<Kind>,
    /// The lane that takes all that is on demand.
    plain: usize,
    need: Option<u32>,
    lanes: Vec<u32>,
}

impl<R: Rule> Ruled<R> {
    /// A rule on a scenario. Who sizes its stages knows of no lanes: they are the rule's.
    pub fn new(rule: R, scenario: &Scenario) -> Self {
        let ruling = |world: &StageWorld| Ruling {
            kinds: world.lanes.iter().map(LaneWorld::kind).collect(),
            plain: plain(&world.lanes),
            ..Ruling::default()
        };
        let stages = scenario.stages.iter().map(ruling).collect();
        let mut plain = scenario.clone();
        let mut pipeline = (*plain.pipeline).clone();
        pipeline.stages.iter_mut().for_each(|stage| stage.lanes.clear());
        plain.pipeline = Arc::new(pipeline);
        Self { rule, sizer: Penstock::new(&plain), stages, next: 0.0 }
    }
}

impl Ruling {
    /// Both kinds' replicas, laid out over the lanes: on demand all on one of them, on spot evenly.
    fn spread(&mut self, [kept, spot]: [u32; 2]) {
        let spots = self.kinds.iter().filter(|kind| **kind == Kind::Spot).count();
        let spots = u32::try_from(spots).unwrap_or(u32::MAX);
        let mut number = 0;
        self.lanes = (self.kinds.iter().enumerate())
            .map(|(at, kind)| match kind {
                Kind::OnDemand if at == self.plain => kept,
                Kind::OnDemand => 0,
                Kind::Spot => {
                    number += 1;
                    spot / spots + u32::from(number <= spot % spots)
                }
            })
            .collect();
    }
}

impl<R: Rule> Pilot for Ruled<R> {
    fn name(&self) -> String {
        self.rule.name()
    }

    fn is_due(&self, at: f64) -> bool {
        self.sizer.is_due(at) || (0.0 < self.rule.period() && self.next <= at)
    }

    fn is_woken(&self) -> bool {
        true
    }

    fn decide(&mut self, views: &[View<'_>], wants: &mut [u32]) {
        let Some(at) = views.first().map(|view| view.at) else { return };
        let each = self.stages.iter().zip(views);
        let before: Vec<u32> =
            each.map(|(stage, view)| stage.need.unwrap_or(view.desired)).collect();
        // What the rule has beyond need is none of the sizer's doing, and it does not ask for it.
        let each = views.iter().zip(&before);
        let whole: Vec<_> =
            each.map(|(view, desired)| View { desired: *desired, lanes: None, ..*view }).collect();
        let mut needs = before;
        self.sizer.decide(&whole, &mut needs);
        let is_due = self.next <= at;
        for (index, (stage, need)) in self.stages.iter_mut().zip(needs).enumerate() {
            if let Some(seen) = views[index].lanes
                && (is_due || stage.need != Some(need))
            {
                stage.spread(self.rule.split(need, seen.ready()));
            }
            wants[index] = if stage.kinds.is_empty() { need } else { stage.lanes.iter().sum() };
            stage.need = Some(need);
        }
        if is_due {
            self.next = at + self.rule.period();
        }
    }

    fn split(&self, stage: usize) -> Option<Vec<u32>> {
        let stage = self.stages.get(stage).filter(|stage| !stage.kinds.is_empty())?;
        Some(stage.lanes.clone())
    }

    fn need(&self, stage: usize) -> Option<u32> {
        self.stages.get(stage)?.need
    }

    fn believed_rate(&self, stage: usize) -> Option<f64> {
        self.sizer.believed_rate(stage)
    }

    fn why(&self, stage: usize) -> Option<Why> {
        self.sizer.why(stage)
    }

    fn violations(&self) -> u32 {
        self.sizer.violations()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skyserve_fills_up_on_demand_what_is_not_ready_on_spot() {
        let rule = SkyServe { base: 2, extra: 2 };
        for (need, ready, split) in [
            (12, 0, [12, 12]),
            (12, 7, [7, 12]),
            (12, 10, [4, 12]),
            (12, 12, [2, 12]),
            (2, 0, [2, 0]),
            (1, 0, [1, 0]),
        ] {
            assert_eq!(rule.split(need, [9, ready]), split, "{need} with {ready} ready");
        }
    }

    #[test]
    fn lanes_of_one_kind_share_evenly_on_spot_and_one_has_all_on_demand() {
        let kinds = vec![Kind::Spot, Kind::OnDemand, Kind::Spot, Kind::OnDemand];
        let mut ruling = Ruling { kinds, plain: 1, ..Ruling::default() };
        ruling.spread([4, 5]);
        assert_eq!(ruling.lanes, [3, 4, 2, 0]);
        ruling.plain = 3;
        ruling.spread([4, 5]);
        assert_eq!(ruling.lanes, [3, 0, 2, 4]);
    }

    #[test]
    fn a_fixed_share_is_rounded_to_what_is_kept() {
        let rule = FixedShare { base: 2, share: 70 };
        assert_eq!([1, 3, 12].map(|need| rule.split(need, [0, 0])), [[1, 0], [3, 0], [5, 7]]);
    }
}
