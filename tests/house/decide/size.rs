//! What decide remembers stays small, and comes back from JSON as it went.

use penstock::decide::Memory;

use super::story::{Given, Side, World};

/// A long and restless life: everything that can be remembered is.
fn remembered(partitions: usize) -> Memory {
    let side = |window| Side {
        window: Some(window),
        policies: vec![("Pods".into(), 3, 1800)],
        ..Side::default()
    };
    let mut world = World::new(Given {
        objective: Some(60),
        per_replica: Some(100.0),
        partitions: Some(partitions),
        commits: Some(5),
        up: Some(side(3600)),
        down: Some(side(3600)),
        max: Some(10_000),
        ..Given::default()
    });
    for turn in 0..2000_i64 {
        let wave = (turn * 7919) % 9973;
        world.bring(wave * 3);
        world.serve((turn * 104_729) % 9973 * 3);
        world.turn();
        world.pass(2 + turn % 5);
    }
    world.memory.clone()
}

#[test]
fn a_stage_takes_at_most_8_kib_and_96_bytes_for_each_partition_above_48() {
    for partitions in [3_usize, 48, 512] {
        let weight = remembered(partitions).weight();
        let allowed = 8192 + 96 * partitions.saturating_sub(48);
        assert!(weight <= allowed, "{weight} bytes for {partitions} partitions, {allowed} allowed");
        assert!(1000 + 64 * partitions < weight, "{weight} bytes: is everything weighed?");
    }
}

#[test]
fn memory_comes_back_from_json_as_it_went() {
    let memory = remembered(12);
    let text = serde_json::to_string(&memory).unwrap();
    let back: Memory = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    let mut one = memory.clone();
    let mut other = Memory::default();
    other.merge(back);
    one.merge(memory);
    assert_eq!(one, other);
}
