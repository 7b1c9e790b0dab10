//! The clairvoyant: the least that any plan pays which knows the whole load beforehand and reads every item within the deadline. Called
//! by `benches/quality.rs`, which divides the cost of every policy by it; no policy runs here.
//!
//! The plan is exact on a grid. Items are read in the order they came, so every item is read within L if and only if the backlog is
//! never more than what arrived within the last L. State: replicas n and backlog b; slot Δ, unit of work Δ/grain replica-seconds:
//! V'(n', b') = min over n, b of V(n, b) + n'·Δ + C·max(0, n' − n), with b' = max(0, b + a − cap(n')) ≤ window. The minimum over n is
//! two running minima (from below with C a pod, from above for free), so a slot costs replicas times backlog, and allocates nothing.

/// What a plan is up against.
#[derive(Debug, Clone, Copy)]
pub struct Ground {
    /// L: seconds from an item's arrival until it must be read.
    pub deadline: f64,
    /// C: replica-seconds that each added pod costs beyond its time at work: its start-up, during which it is paid for and does nothing.
    pub per_start: f64,
    /// Most replicas.
    pub most: u32,
    /// How much of the work so many replicas can share.
    pub sharing: Sharing,
}

/// How work is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// At will: n replicas do n times what one does. What no policy of any kind can beat.
    Free,
    /// By equal partitions, of which the busiest replica has ⌈P/n⌉: n replicas do P/⌈P/n⌉ times what one does.
    Partitions(u32),
}

/// To which side the grid rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Work down, deadlines late, capacity up: no plan on the grid is cheaper.
    Below,
    /// Deadlines early, capacity down: a plan that holds, but for less than one unit of work that may be left when arrivals end.
    Feasible,
}

/// Longest slot, in seconds, and least slots in a deadline.
const SLOT: f64 = 15.0;
const SLOTS: f64 = 4.0;

/// Replica-seconds of the cheapest plan for this work, pods that start included, from a free choice of replicas at the start to the
/// last item read. `work` is what arrives in each second, in replica-seconds: items over the rate of one replica. `None` when no plan
/// reads everything in time with so many replicas.
pub fn bound(work: &[f64], ground: &Ground, rounding: Rounding) -> Option<f64> {
    let grid = Grid::new(ground);
    let (ends, dues) = grid.cumulate(work, rounding);
    let capacity: Vec<usize> = (0..=ground.most).map(|n| grid.capacity(n, rounding)).collect();
    let widest = ends.iter().zip(&dues).map(|(end, due)| end - due).max()?;
    let mut table = Table::new(&capacity, widest, grid.grain, ground.per_start / grid.unit);
    let (mut end, mut width) = (0, 0);
    for (&next, &due) in ends.iter().zip(&dues) {
        table.slot(next - end, width, next - due);
        (end, width) = (next, next - due);
    }
    table.least().map(|units| units * grid.unit)
}

/// Slots and units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) slot: f64,
    /// Slots in a deadline.
    deadline: usize,
    /// Units of one replica in one slot.
    pub(super) grain: usize,
    /// Replica-seconds of one unit.
    pub(super) unit: f64,
    sharing: Sharing,
}

impl Grid {
    pub(super) fn new(ground: &Ground) -> Self {
        let slots = (ground.deadline / SLOT).ceil().max(SLOTS);
        let slot = ground.deadline / slots;
        // ⌈P/n⌉ gives fractions of a replica, which must not vanish in rounding.
        let grain = match ground.sharing {
            Sharing::Free => 4,
            Sharing::Partitions(_) => 20,
        };
        Self {
            slot,
            deadline: index(slots),
            grain,
            unit: slot / real(grain),
            sharing: ground.sharing,
        }
    }

    /// For each slot: units that have arrived by its end, and units that must have been read by then. The deadline's slots after the
    /// last item are part of it.
    pub(super) fn cumulate(&self, work: &[f64], rounding: Rounding) -> (Vec<usize>, Vec<usize>) {
        let mut sums = vec![0.0];
        sums.extend(work.iter().scan(0.0, |sum, arriving| {
            *sum += arriving / self.unit;
            Some(*sum)
        }));
        let by = |at: f64| {
            let second = index(at.floor()).min(sums.len() - 1);
            let next = (second + 1).min(sums.len() - 1);
            sums[second] + (sums[next] - sums[second]) * (at - real(second)).clamp(0.0, 1.0)
        };
        let slots = index((real(work.len()) / self.slot).ceil()) + self.deadline;
        let at_end = |slot: usize| by(real(slot) * self.slot);
        // A hair, so that sums of fractions that make a whole unit count as one.
        let ends: Vec<usize> =
            (1..=slots).map(|slot| index((at_end(slot) + 1e-6).floor())).collect();
        let due = |slot: usize, end: usize| {
            let exact = at_end((slot + 1).saturating_sub(self.deadline));
            match rounding {
                Rounding::Below => index((exact + 1e-6).floor()),
                Rounding::Feasible => index((exact - 1e-6).ceil()).min(end),
            }
        };
        let dues = ends.iter().enumerate().map(|(slot, &end)| due(slot, end)).collect();
        (ends, dues)
    }

    /// Units that so many replicas do in a slot.
    fn capacity(&self, replicas: u32, rounding: Rounding) -> usize {
        match self.sharing {
            Sharing::Free => self.grain * length(replicas),
            Sharing::Partitions(_) if replicas == 0 => 0,
            Sharing::Partitions(partitions) => {
                let share = f64::from(partitions) / f64::from(partitions.div_ceil(replicas));
                let units = real(self.grain) * share;
                index(if rounding == Rounding::Below {
                    (units - 1e-6).ceil()
                } else {
                    (units + 1e-6).floor()
                })
            }
        }
    }
}

/// V: for each count of replicas, the least cost at each backlog. Units.
struct Table {
    /// Units that each count does in a slot.
    capacity: Vec<usize>,
    /// Backlogs, each with a place.
    width: usize,
    grain: f32,
    per_start: f32,
    value: Vec<f32>,
    /// The least cost of coming from fewer or as many replicas.
    from_below: Vec<f32>,
    /// The least cost of coming from more or as many, at each backlog.
    from_above: Vec<f32>,
    /// What was taken off all values, so that small numbers stay exact.
    base: f64,
    slots: usize,
}

impl Table {
    fn new(capacity: &[usize], widest: usize, grain: usize, per_start: f64) -> Self {
        let width = widest + 1;
        let mut value = vec![f32::INFINITY; capacity.len() * width];
        for row in value.chunks_exact_mut(width) {
            if let Some(none) = row.first_mut() {
                *none = 0.0;
            }
        }
        Self {
            capacity: capacity.to_vec(),
            width,
            grain: single(real(grain)),
            per_start: single(per_start),
            from_below: value.clone(),
            value,
            from_above: vec![0.0; width],
            base: 0.0,
            slots: 0,
        }
    }

    /// One slot: so much arrives; backlogs were within `before`, and must be within `after` at its end.
    fn slot(&mut self, arriving: usize, before: usize, after: usize) {
        let Self { capacity, width, per_start, value, from_below, from_above, .. } = self;
        let open = 0..=before;
        let mut lowest: Option<usize> = None;
        for at in (0..capacity.len()).map(|n| n * *width) {
            let row = at..=at + before;
            if let Some(fewer) = lowest {
                let (done, rest) = from_below.split_at_mut(at);
                let fewer = &done[fewer..=fewer + before];
                let costs = value[row].iter().zip(fewer).zip(&mut rest[open.clone()]);
                for ((&stay, &fewer), least) in costs {
                    *least = lesser(stay, fewer + *per_start);
                }
            } else {
                from_below[row.clone()].copy_from_slice(&value[row]);
            }
            lowest = Some(at);
        }
        let from_above = &mut from_above[open.clone()];
        from_above.fill(f32::INFINITY);
        for (n, &served) in capacity.iter().enumerate().rev() {
            let at = n * *width;
            let row = &mut value[at..at + *width];
            let below = &mut from_below[at..=at + before];
            for ((more, &stay), least) in
                from_above.iter_mut().zip(&row[open.clone()]).zip(&mut *below)
            {
                *more = lesser(*more, stay);
                *least = lesser(*least, *more);
            }
            let paid = self.grain * single(real(n));
            row.fill(f32::INFINITY);
            shift(below, row, arriving, served, after);
            for cost in &mut row[..=after] {
                *cost += paid;
            }
        }
        self.slots += 1;
        if self.slots.is_multiple_of(64) {
            self.rebase();
        }
    }

    /// Takes the least value off all.
    fn rebase(&mut self) {
        let least = self.value.iter().copied().fold(f32::INFINITY, lesser);
        if least.is_finite() {
            self.base += f64::from(least);
            for value in &mut self.value {
                *value -= least;
            }
        }
    }

    /// The least cost with nothing left to read.
    fn least(&self) -> Option<f64> {
        let done = self.value.iter().step_by(self.width).copied().fold(f32::INFINITY, lesser);
        done.is_finite().then(|| self.base + f64::from(done))
    }
}

/// Moves costs from backlog b to max(0, b + arriving − served), as far as that is within `after`.
pub(super) fn shift(from: &[f32], to: &mut [f32], arriving: usize, served: usize, after: usize) {
    if served <= arriving {
        let by = arriving - served;
        if by <= after {
            let count = from.len().min(after - by + 1);
            to[by..by + count].copy_from_slice(&from[..count]);
        }
        return;
    }
    let by = served - arriving;
    let cleared = from.len().min(by + 1);
    to[0] = from[..cleared].iter().copied().fold(f32::INFINITY, lesser);
    let count = (from.len() - cleared).min(after);
    to[1..=count].copy_from_slice(&from[cleared..cleared + count]);
}

/// Compiles to one instruction for many numbers, unlike `f32::min`, which minds NaN.
#[inline]
pub(super) fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "costs between two rebasings are small whole numbers"
)]
pub(super) fn single(x: f64) -> f32 {
    x as f32
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to int cast saturates"
)]
pub(super) fn index(x: f64) -> usize {
    x.max(0.0) as usize
}

fn length(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
