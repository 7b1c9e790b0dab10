//! What is written in `behavior` means what it means to the HPA: compared, move by move, with a model made after the HPA's own
//! arithmetic (`pkg/controller/podautoscaler/horizontal.go` of Kubernetes 1.36) and sharing nothing with decide.

use proptest::prelude::*;

use super::story::{Given, Side, World};

/// The HPA, as far as `behavior` goes. Times in seconds.
#[derive(Debug)]
struct Hpa {
    up: Side,
    down: Side,
    recommendations: Vec<(i64, i32)>,
    ups: Vec<(i64, i32)>,
    downs: Vec<(i64, i32)>,
    min: i32,
    max: i32,
}

impl Hpa {
    fn rescale(&mut self, now: i64, current: i32, metric: i32) -> i32 {
        let metric = self.tolerated(current, metric);
        let stable = self.stabilized(now, current, metric);
        let desired = self.limited(now, current, stable);
        if current < desired {
            self.ups.push((now, desired - current));
        } else if desired < current {
            self.downs.push((now, current - desired));
        }
        desired
    }

    /// product.md: tolerance compares desired with current replicas.
    fn tolerated(&self, current: i32, metric: i32) -> i32 {
        let ratio = f64::from(metric) / f64::from(current);
        let up = self.up.tolerance.unwrap_or(0.0);
        let down = self.down.tolerance.unwrap_or(0.0);
        if (1.0 - down..=1.0 + up).contains(&ratio) { current } else { metric }
    }

    fn stabilized(&mut self, now: i64, current: i32, desired: i32) -> i32 {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
        let window = |side: &Side| i64::try_from(side.window.unwrap()).unwrap();
        let (mut up, mut down) = (desired, desired);
        for &(at, recommendation) in &self.recommendations {
            if now - window(&self.up) < at {
                up = up.min(recommendation);
            }
            if now - window(&self.down) < at {
                down = down.max(recommendation);
            }
        }
        self.recommendations.push((now, desired));
        let mut recommendation = current;
        if recommendation < up {
            recommendation = up;
        }
        if down < recommendation {
            recommendation = down;
        }
        recommendation
    }

    fn limited(&self, now: i64, current: i32, desired: i32) -> i32 {
        if current < desired {
            let limit = self.limit(now, current, &self.up, true).max(current);
            desired.min(limit.min(self.max))
        } else if desired < current {
            let limit = self.limit(now, current, &self.down, false).min(current);
            desired.max(limit.max(self.min))
        } else {
            desired
        }
    }

    fn limit(&self, now: i64, current: i32, side: &Side, is_up: bool) -> i32 {
        if side.select.as_deref() == Some("Disabled") {
            return current;
        }
        let within = |events: &[(i64, i32)], period: i64| -> i32 {
            events.iter().filter(|(at, _)| now - period < *at).map(|(_, change)| change).sum()
        };
        let is_least = side.select.as_deref() == Some("Min");
        let proposals = side.policies.iter().map(|(unit, value, period)| {
            let period = i64::try_from(*period).unwrap();
            let start = current - within(&self.ups, period) + within(&self.downs, period);
            let value = i32::try_from(*value).unwrap();
            let share = f64::from(value) / 100.0;
            match (unit.as_str(), is_up) {
                ("Pods", true) => start + value,
                ("Pods", false) => start - value,
                (_, true) => whole((f64::from(start) * (1.0 + share)).ceil()),
                (_, false) => whole(f64::from(start) * (1.0 - share)),
            }
        });
        if is_up == is_least { proposals.min().unwrap() } else { proposals.max().unwrap() }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "as Go's int32()")]
fn whole(x: f64) -> i32 {
    x as i32
}

fn side() -> impl Strategy<Value = Side> {
    let window = prop_oneof![Just(0_u64), 1..400_u64];
    let select = prop_oneof![
        3 => Just(None),
        2 => Just(Some("Min".to_owned())),
        1 => Just(Some("Disabled".to_owned())),
    ];
    let unit = prop_oneof![Just("Pods".to_owned()), Just("Percent".to_owned())];
    let policies = prop::collection::vec((unit, 1..150_u32, 1..300_u64), 1..4);
    let tolerance = prop_oneof![Just(None), (0.0..0.5).prop_map(Some)];
    (window, select, policies, tolerance).prop_map(|(window, select, policies, tolerance)| Side {
        window: Some(window),
        select,
        policies,
        tolerance,
    })
}

proptest! {
    #![proptest_config(super::cases(300))]

    #[test]
    fn behavior_moves_as_the_hpa_moves(
        up in side(),
        down in side(),
        start in 1..60_u32,
        // None is more than ten times another: that would need a second reading that agrees, which the HPA does not ask for.
        wishes in prop::collection::vec((8..80_u32, 0..3_i64), 1..40),
    ) {
        let given = Given {
            min: Some(1),
            max: Some(60),
            gauge: Some(1.0),
            sources: Some(0),
            poll: Some(15),
            desired: Some(start),
            up: Some(up.clone()),
            down: Some(down.clone()),
            ..Given::default()
        };
        let mut world = World::new(given);
        let (recommendations, ups, downs) = (Vec::new(), Vec::new(), Vec::new());
        let mut hpa = Hpa { up, down, recommendations, ups, downs, min: 1, max: 60 };
        let mut current = i32::try_from(start).unwrap();
        let mut told = Vec::new();
        for (wish, pause) in wishes {
            world.gauge = f64::from(wish);
            world.turn();
            current = hpa.rescale(world.at, current, i32::try_from(wish).unwrap());
            told.push((world.at, wish, world.workload.desired, current));
            prop_assert_eq!(i64::from(world.workload.desired), i64::from(current), "{:?}", told);
            world.pass(15 + 15 * pause);
        }
    }
}
