//! Who is in a group and which partitions each member holds: the two requests that tell, one for classic groups and one for those of
//! KIP-848. Pure; called by `cluster.rs` (requests) and `owners.rs` (answers).

use super::protocol::{Api, Call, call, is_flexible};
use super::wire::{Malformed, Reader};

/// No group has more members; a longer list is a lie.
const MOST_MEMBERS: usize = 1 << 16;
/// No group has more partitions.
const MOST_HELD: usize = 1 << 18;

/// The protocol that a group shares its partitions by, and so which request tells of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The members share out among themselves (`group.protocol=classic`).
    #[default]
    Classic,
    /// The broker does (`group.protocol=consumer`, KIP-848).
    Consumer,
    /// All members read all partitions (KIP-932).
    Share,
}

impl Kind {
    /// The request that tells of such groups.
    pub(super) fn api(self) -> Api {
        match self {
            Self::Classic => Api::DescribeGroups,
            Self::Consumer => Api::ConsumerGroupDescribe,
            Self::Share => Api::ShareGroupDescribe,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Classic => Self::Consumer,
            Self::Consumer | Self::Share => Self::Classic,
        }
    }
}

/// A group as its coordinator describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Described<'a> {
    pub(super) group: &'a str,
    pub(super) error: i16,
    pub(super) state: &'a str,
    /// Do its members speak of topics and partitions? Connect's workers, for one, do not.
    pub(super) is_of_consumers: bool,
    pub(super) members: Vec<Member<'a>>,
}

/// A member of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) id: &'a str,
    /// Topic and number of each partition it holds. What a classic member holds was written by another member, so it may be malformed
    /// in an answer that is not.
    pub(super) holds: Result<Vec<(&'a str, i32)>, Malformed>,
}

/// Who is in these groups.
pub(super) fn describe(kind: Kind, version: i16, groups: &[&str]) -> Call {
    call(kind.api(), version, |w| {
        w.array(groups.len());
        for group in groups {
            w.string(group);
        }
        if kind != Kind::Classic || version >= 3 {
            w.bool(false); // what we may do with them
        }
        w.end();
    })
}

/// Hands each group to `take`.
pub(super) fn described<'a>(
    kind: Kind,
    version: i16,
    bytes: &'a [u8],
    mut take: impl FnMut(&Described<'a>),
) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes, is_flexible(kind.api(), version));
    r.i32()?; // throttle time
    for _ in 0..r.array()? {
        let group = match kind {
            Kind::Classic => classic(version, &mut r)?,
            Kind::Consumer => consumer(version, &mut r)?,
            Kind::Share => share(&mut r)?,
        };
        take(&group);
    }
    r.end()
}

fn classic<'a>(version: i16, r: &mut Reader<'a>) -> Result<Described<'a>, Malformed> {
    let (error, group, state) = (r.i16()?, r.string()?, r.string()?);
    let is_of_consumers = r.string()? == "consumer";
    r.string()?; // assignor
    let (mut members, mut left) = (Vec::new(), MOST_HELD);
    for _ in 0..count(r)? {
        let id = r.string()?;
        if version >= 4 {
            r.nullable()?; // instance
        }
        r.string()?; // client
        r.string()?; // host
        r.blob()?; // what it subscribes to
        let assignment = r.blob()?;
        r.end()?;
        let holds = if is_of_consumers { assigned(assignment, &mut left) } else { Ok(Vec::new()) };
        members.push(Member { id, holds });
    }
    if version >= 3 {
        r.i32()?; // authorized operations
    }
    r.end()?;
    Ok(Described { group, error, state, is_of_consumers, members })
}

/// Kafka's `ConsumerProtocolAssignment`. All versions begin alike; what follows is the assignor's own.
fn assigned<'a>(bytes: &'a [u8], left: &mut usize) -> Result<Vec<(&'a str, i32)>, Malformed> {
    // A member that came after the sharing out has none yet.
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader::new(bytes, false);
    if r.i16()? < 0 {
        return Err(Malformed);
    }
    let mut held = Vec::new();
    for _ in 0..r.array()? {
        partitions(&mut r, left, &mut held)?;
    }
    Ok(held)
}

fn consumer<'a>(version: i16, r: &mut Reader<'a>) -> Result<Described<'a>, Malformed> {
    let error = r.i16()?;
    r.nullable()?; // message
    let (group, state) = (r.string()?, r.string()?);
    r.i32()?; // group epoch
    r.i32()?; // assignment epoch
    r.string()?; // assignor
    let (mut members, mut left) = (Vec::new(), MOST_HELD);
    for _ in 0..count(r)? {
        let id = r.string()?;
        r.nullable()?; // instance
        r.nullable()?; // rack
        r.i32()?; // epoch
        r.string()?; // client
        r.string()?; // host
        for _ in 0..r.array()? {
            r.string()?; // topic it subscribes to
        }
        r.nullable()?; // pattern
        let holds = Ok(holding(r, &mut left)?);
        holding(r, &mut left)?; // what it is to hold in the end
        if version >= 1 {
            r.i8()?; // its own protocol
        }
        r.end()?;
        members.push(Member { id, holds });
    }
    r.i32()?; // authorized operations
    r.end()?;
    Ok(Described { group, error, state, is_of_consumers: true, members })
}

fn share<'a>(r: &mut Reader<'a>) -> Result<Described<'a>, Malformed> {
    let error = r.i16()?;
    r.nullable()?; // message
    let (group, state) = (r.string()?, r.string()?);
    r.i32()?; // group epoch
    r.i32()?; // assignment epoch
    r.string()?; // assignor
    let (mut members, mut left) = (Vec::new(), MOST_HELD);
    for _ in 0..count(r)? {
        let id = r.string()?;
        r.nullable()?; // rack
        r.i32()?; // epoch
        r.string()?; // client
        r.string()?; // host
        for _ in 0..r.array()? {
            r.string()?; // topic it subscribes to
        }
        let holds = Ok(holding(r, &mut left)?);
        r.end()?;
        members.push(Member { id, holds });
    }
    r.i32()?; // authorized operations
    r.end()?;
    Ok(Described { group, error, state, is_of_consumers: false, members })
}

fn holding<'a>(r: &mut Reader<'a>, left: &mut usize) -> Result<Vec<(&'a str, i32)>, Malformed> {
    let mut held = Vec::new();
    for _ in 0..r.array()? {
        r.uuid()?;
        partitions(r, left, &mut held)?;
    }
    r.end()?;
    Ok(held)
}

/// A topic and the numbers of some of its partitions.
fn partitions<'a>(
    r: &mut Reader<'a>,
    left: &mut usize,
    held: &mut Vec<(&'a str, i32)>,
) -> Result<(), Malformed> {
    let topic = r.string()?;
    let count = r.array()?;
    *left = left.checked_sub(count).ok_or(Malformed)?;
    for _ in 0..count {
        held.push((topic, r.i32()?));
    }
    r.end()
}

/// The length of a list of members.
fn count(r: &mut Reader<'_>) -> Result<usize, Malformed> {
    let count = r.array()?;
    if count > MOST_MEMBERS { Err(Malformed) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use super::super::wire::Writer;
    use super::*;

    /// An assignment as a classic member's leader writes it.
    fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
        let mut w = Writer::new(false);
        w.i16(3);
        w.array(topics.len());
        for (topic, partitions) in topics {
            w.string(topic);
            w.array(partitions.len());
            for partition in *partitions {
                w.i32(*partition);
            }
        }
        w.blob(b"the assignor's own");
        w.into_bytes()
    }

    fn groups(version: i16, assignment: &[u8]) -> Vec<u8> {
        let is_flexible = version >= 5;
        let mut w = Writer::new(is_flexible);
        w.i32(0);
        w.array(1);
        w.i16(0);
        for word in ["enrich", "Stable", "consumer", "range"] {
            w.string(word);
        }
        w.array(1);
        w.string("member-1");
        if version >= 4 {
            w.string("instance");
        }
        w.string("client");
        w.string("/127.0.0.1");
        for bytes in [b"subscription".as_slice(), assignment] {
            if is_flexible {
                w.array(bytes.len());
                for byte in bytes {
                    w.i8(byte.cast_signed());
                }
            } else {
                w.blob(bytes);
            }
        }
        w.end();
        if version >= 3 {
            w.i32(0);
        }
        w.end();
        w.end();
        w.into_bytes()
    }

    /// What the only member of the only group holds, with the topics' names.
    fn held(kind: Kind, version: i16, bytes: &[u8]) -> Result<Vec<(String, i32)>, Malformed> {
        let mut held = Err(Malformed);
        described(kind, version, bytes, |group| {
            assert_eq!((group.group, group.error, group.state), ("enrich", 0, "Stable"));
            assert!(group.is_of_consumers);
            let [Member { id: "member-1", holds }] = &group.members[..] else {
                panic!("{group:?}")
            };
            held = holds.clone();
        })?;
        Ok(held?.into_iter().map(|(topic, number)| (topic.to_owned(), number)).collect())
    }

    fn expected() -> Vec<(String, i32)> {
        vec![("orders".to_owned(), 0), ("orders".to_owned(), 2), ("refunds".to_owned(), 7)]
    }

    #[test]
    fn a_classic_member_holds_what_its_leader_wrote() {
        let assignment = assignment(&[("orders", &[0, 2]), ("refunds", &[7])]);
        for version in [1, 5] {
            let bytes = groups(version, &assignment);
            assert_eq!(held(Kind::Classic, version, &bytes), Ok(expected()), "{version}");
            for cut in 0..bytes.len() {
                assert!(described(Kind::Classic, version, &bytes[..cut], |_| {}).is_err(), "{cut}");
            }
            assert_eq!(held(Kind::Classic, version, &groups(version, &[])), Ok(Vec::new()));
        }
    }

    #[test]
    fn a_malformed_assignment_harms_only_its_member() {
        let lying = [0, 0, 0x7f, 0xff, 0xff, 0xff];
        let negative = [0xff, 0xff, 0, 0, 0, 0];
        let cut = &assignment(&[("orders", &[0, 2])])[..16];
        for bytes in [&lying[..], &negative, cut, b"\0"] {
            assert_eq!(held(Kind::Classic, 5, &groups(5, bytes)), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_list_longer_than_any_real_one_is_a_lie() {
        let many: Vec<i32> = (0..).take(MOST_HELD + 1).collect();
        let too_many = groups(1, &assignment(&[("orders", &many)]));
        assert_eq!(held(Kind::Classic, 1, &too_many), Err(Malformed));
        let enough = groups(1, &assignment(&[("orders", &many[1..])]));
        assert_eq!(held(Kind::Classic, 1, &enough).map(|held| held.len()), Ok(MOST_HELD));
    }

    #[test]
    fn a_member_of_a_consumer_group_holds_what_the_broker_says_and_not_what_it_is_to_hold() {
        for version in [0, 1] {
            let mut w = Writer::new(true);
            w.i32(0);
            w.array(1);
            w.i16(0);
            for word in ["", "enrich", "Stable"] {
                w.string(word);
            }
            w.i32(4);
            w.i32(4);
            w.string("uniform");
            w.array(1);
            for word in ["member-1", "instance", "rack"] {
                w.string(word);
            }
            w.i32(4);
            w.string("client");
            w.string("/127.0.0.1");
            w.array(1);
            w.string("orders");
            w.string("");
            for topics in [&[("orders", &[0, 2][..]), ("refunds", &[7])][..], &[("later", &[1])]] {
                w.array(topics.len());
                for (topic, partitions) in topics {
                    w.no_uuid();
                    w.string(topic);
                    w.array(partitions.len());
                    for partition in *partitions {
                        w.i32(*partition);
                    }
                    w.end();
                }
                w.end();
            }
            if version >= 1 {
                w.i8(1);
            }
            w.end();
            w.i32(0);
            w.end();
            w.end();
            let bytes = w.into_bytes();
            assert_eq!(held(Kind::Consumer, version, &bytes), Ok(expected()), "{version}");
            for cut in 0..bytes.len() {
                assert!(
                    described(Kind::Consumer, version, &bytes[..cut], |_| {}).is_err(),
                    "{cut}"
                );
            }
        }
    }
}
