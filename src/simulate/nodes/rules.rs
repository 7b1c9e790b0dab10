//! How others split a stage over on-demand and spot nodes, beside Penstock's lanes. How many replicas the stage needs is for all of them what
//! Penstock would say of it on nodes of one kind, so that only the split is compared.

use super::super::penstock::Penstock;
use super::super::pilot::Pilot;
use super::super::policy::View;
use super::super::scenario::Scenario;
use super::{Placer, Seen, Wants};

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

/// A rule, told by Penstock how many replicas there shall be.
#[derive(Debug)]
pub struct Ruled<R> {
    rule: R,
    sizer: Penstock,
    need: Option<u32>,
    next: f64,
    lanes: [u32; 2],
}

impl<R: Rule> Ruled<R> {
    /// A rule on a scenario, whose stage has no lanes: they are the rule's.
    pub fn new(rule: R, scenario: &Scenario) -> Self {
        Self { rule, sizer: Penstock::new(scenario), need: None, next: 0.0, lanes: [0; 2] }
    }
}

impl<R: Rule> Placer for Ruled<R> {
    fn name(&self) -> String {
        self.rule.name()
    }

    fn is_due(&self, at: f64, has_moved: bool) -> bool {
        has_moved || self.sizer.is_due(at) || (0.0 < self.rule.period() && self.next <= at)
    }

    fn place(&mut self, view: &View<'_>, seen: &Seen) -> Wants {
        let before = self.need.unwrap_or(view.desired);
        let mut wants = [before];
        // What the rule has beyond need is none of the sizer's doing, and it does not ask for it.
        let whole = View { desired: before, ..*view };
        self.sizer.decide(std::slice::from_ref(&whole), &mut wants);
        let need = wants[0];
        let is_due = self.next <= view.at;
        if is_due || self.need != Some(need) {
            self.lanes = self.rule.split(need, seen.ready());
        }
        if is_due {
            self.next = view.at + self.rule.period();
        }
        self.need = Some(need);
        Wants { need, lanes: self.lanes, spot: None }
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
    fn a_fixed_share_is_rounded_to_what_is_kept() {
        let rule = FixedShare { base: 2, share: 70 };
        assert_eq!([1, 3, 12].map(|need| rule.split(need, [0, 0])), [[1, 0], [3, 0], [5, 7]]);
    }
}
