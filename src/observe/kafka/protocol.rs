//! The requests we make of a Kafka broker, but for those of `members.rs`, and what comes back, in the versions that Kafka 0.11 to 4.x and librdkafka's mock
//! share. Pure; called by `link.rs` (versions, login) and `cluster.rs`.

use super::wire::{Malformed, Reader, Writer};

/// The requests, with their numbers in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i16)]
#[expect(clippy::enum_variant_names, reason = "the protocol's own names")]
pub(super) enum Api {
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    OffsetFetch = 9,
    FindCoordinator = 10,
    DescribeGroups = 15,
    SaslHandshake = 17,
    ApiVersions = 18,
    SaslAuthenticate = 36,
    ConsumerGroupDescribe = 69,
    ShareGroupDescribe = 77,
}

/// A request, ready for the header.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) api: Api,
    pub(super) version: i16,
    pub(super) body: Vec<u8>,
}

/// Do this version's messages have tagged fields?
pub(super) fn is_flexible(api: Api, version: i16) -> bool {
    match api {
        Api::Fetch | Api::SaslHandshake | Api::ApiVersions | Api::SaslAuthenticate => false,
        Api::ListOffsets | Api::OffsetFetch => version >= 6,
        Api::Metadata => version >= 9,
        Api::FindCoordinator => version >= 3,
        Api::DescribeGroups => version >= 5,
        Api::ConsumerGroupDescribe | Api::ShareGroupDescribe => true,
    }
}

/// The versions we speak of each request, best first.
pub(super) fn spoken(api: Api) -> &'static [i16] {
    match api {
        Api::Fetch => &[4],
        Api::ListOffsets => &[7, 2],
        Api::Metadata => &[12, 11, 10, 9, 4],
        Api::OffsetFetch => &[8, 3],
        Api::FindCoordinator => &[4, 1],
        Api::DescribeGroups => &[5, 1],
        Api::SaslHandshake | Api::ShareGroupDescribe => &[1],
        Api::ApiVersions => &[0],
        Api::SaslAuthenticate | Api::ConsumerGroupDescribe => &[1, 0],
    }
}

pub(super) fn call(api: Api, version: i16, write: impl FnOnce(&mut Writer)) -> Call {
    let mut writer = Writer::new(is_flexible(api, version));
    write(&mut writer);
    Call { api, version, body: writer.into_bytes() }
}

/// A broker's errors that we tell apart.
pub(super) mod code {
    pub(in super::super) const NONE: i16 = 0;
    pub(in super::super) const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub(in super::super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub(in super::super) const LEADER_NOT_AVAILABLE: i16 = 5;
    pub(in super::super) const NOT_LEADER: i16 = 6;
    pub(in super::super) const COORDINATOR_LOADING: i16 = 14;
    pub(in super::super) const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub(in super::super) const NOT_COORDINATOR: i16 = 16;
    pub(in super::super) const INVALID_TOPIC: i16 = 17;
    pub(in super::super) const TOPIC_DENIED: i16 = 29;
    pub(in super::super) const GROUP_DENIED: i16 = 30;
    pub(in super::super) const UNSUPPORTED_MECHANISM: i16 = 33;
    pub(in super::super) const UNSUPPORTED_VERSION: i16 = 35;
    pub(in super::super) const UNKNOWN_GROUP: i16 = 69;
    /// Not the broker's: it said nothing of a partition that was asked for.
    pub(in super::super) const SILENT: i16 = i16::MIN;
}

/// An error code in the words of Kafka's own list.
pub(super) fn code_text(number: i16) -> String {
    match number {
        code::OFFSET_OUT_OF_RANGE => "offset out of range".into(),
        code::UNKNOWN_TOPIC_OR_PARTITION => "unknown topic or partition".into(),
        code::LEADER_NOT_AVAILABLE => "the partition has no leader".into(),
        code::NOT_LEADER => "the broker is not the partition's leader".into(),
        7 => "the request timed out inside the cluster".into(),
        9 => "replica not available".into(),
        code::COORDINATOR_LOADING => "the group's coordinator is loading".into(),
        code::COORDINATOR_NOT_AVAILABLE => "the group has no coordinator".into(),
        code::NOT_COORDINATOR => "the broker is not the group's coordinator".into(),
        code::INVALID_TOPIC => "not a valid topic name".into(),
        24 => "not a valid group name".into(),
        code::TOPIC_DENIED => "access to the topic is denied (Describe is needed)".into(),
        code::GROUP_DENIED => "access to the group is denied (Describe is needed)".into(),
        34 => "the listener wants no login".into(),
        31 => "access to the cluster is denied".into(),
        code::UNSUPPORTED_VERSION => "unsupported version".into(),
        56 => "storage error on the broker's disk".into(),
        74 | 76 => "leader election under way".into(),
        78 => "the new leader does not know the offset yet".into(),
        code::SILENT => "the broker said nothing of it".into(),
        other => format!("error code {other}"),
    }
}

/// Which versions of everything a broker understands.
pub(super) fn api_versions() -> Call {
    call(Api::ApiVersions, 0, |_| {})
}

/// Error code and, for each API number, the lowest and highest version.
pub(super) fn api_versions_said(bytes: &[u8]) -> Result<(i16, Vec<[i16; 3]>), Malformed> {
    let mut reader = Reader::new(bytes, false);
    let error = reader.i16()?;
    let count = reader.array()?;
    let versions = (0..count).map(|_| Ok([reader.i16()?, reader.i16()?, reader.i16()?]));
    Ok((error, versions.collect::<Result<_, _>>()?))
}

pub(super) fn sasl_handshake(mechanism: &str) -> Call {
    call(Api::SaslHandshake, 1, |w| w.string(mechanism))
}

/// Error code and the mechanisms that the broker offers.
pub(super) fn sasl_handshake_said(bytes: &[u8]) -> Result<(i16, Vec<&str>), Malformed> {
    let mut reader = Reader::new(bytes, false);
    let error = reader.i16()?;
    let count = reader.array()?;
    Ok((error, (0..count).map(|_| reader.string()).collect::<Result<_, _>>()?))
}

pub(super) fn sasl_authenticate(version: i16, token: &[u8]) -> Call {
    call(Api::SaslAuthenticate, version, |w| w.blob(token))
}

/// What a broker says to a login token.
#[derive(Debug)]
pub(super) struct SaslSaid<'a> {
    pub(super) error: i16,
    pub(super) message: Option<&'a str>,
    pub(super) token: &'a [u8],
    /// How long the login holds, in milliseconds; zero for ever.
    pub(super) lifetime_ms: i64,
}

pub(super) fn sasl_authenticate_said(
    version: i16,
    bytes: &[u8],
) -> Result<SaslSaid<'_>, Malformed> {
    let mut reader = Reader::new(bytes, false);
    Ok(SaslSaid {
        error: reader.i16()?,
        message: reader.nullable()?,
        token: reader.blob()?,
        lifetime_ms: if version >= 1 { reader.i64()? } else { 0 },
    })
}

/// What these topics look like, who leads their partitions, and who the brokers are. No topics: the brokers only.
pub(super) fn metadata(version: i16, topics: &[&str]) -> Call {
    call(Api::Metadata, version, |w| {
        w.array(topics.len());
        for topic in topics {
            if version >= 10 {
                w.no_uuid();
            }
            w.string(topic);
            w.end();
        }
        w.bool(false); // never create a topic by asking for it
        if (8..=10).contains(&version) {
            w.bool(false);
        }
        if version >= 8 {
            w.bool(false);
        }
        w.end();
    })
}

/// The answer to [`metadata`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) cluster_id: Option<String>,
    /// Node id, host, port.
    pub(super) brokers: Vec<(i32, String, u16)>,
    pub(super) topics: Vec<TopicSaid>,
}

/// A topic in a metadata answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TopicSaid {
    pub(super) error: i16,
    pub(super) name: String,
    /// Zero where the broker has none.
    pub(super) id: u128,
    /// Partition number and node id of its leader, -1 for none; in no order.
    pub(super) leaders: Vec<(i32, i32)>,
}

pub(super) fn metadata_said(version: i16, bytes: &[u8]) -> Result<Metadata, Malformed> {
    let mut r = Reader::new(bytes, is_flexible(Api::Metadata, version));
    let mut said = Metadata::default();
    r.i32()?; // throttle time
    for _ in 0..r.array()? {
        let (node, host, port) = (r.i32()?, r.string()?.to_owned(), r.i32()?);
        r.nullable()?; // rack
        r.end()?;
        said.brokers.push((node, host, u16::try_from(port).map_err(|_| Malformed)?));
    }
    said.cluster_id = r.nullable()?.map(str::to_owned);
    r.i32()?; // controller
    for _ in 0..r.array()? {
        let error = r.i16()?;
        let name = r.nullable()?.unwrap_or_default().to_owned();
        let id = if version >= 10 { r.uuid()? } else { 0 };
        r.bool()?; // internal
        let mut leaders = Vec::new();
        for _ in 0..r.array()? {
            r.i16()?; // error: a missing leader says it as well
            leaders.push((r.i32()?, r.i32()?));
            if version >= 7 {
                r.i32()?; // leader epoch
            }
            r.skip_i32s()?; // replicas
            r.skip_i32s()?; // in sync
            if version >= 5 {
                r.skip_i32s()?; // offline
            }
            r.end()?;
        }
        if version >= 8 {
            r.i32()?; // authorized operations
        }
        r.end()?;
        said.topics.push(TopicSaid { error, name, id, leaders });
    }
    Ok(said)
}

/// Which offset of a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spec {
    /// The log start.
    Start,
    /// The high watermark.
    End,
    /// The last stable offset: before the first open transaction.
    StableEnd,
}

/// An offset of each of these partitions, by topic.
pub(super) fn list_offsets(version: i16, spec: Spec, topics: &[(&str, Vec<i32>)]) -> Call {
    call(Api::ListOffsets, version, |w| {
        w.i32(-1); // a client, not a replica
        w.i8(i8::from(spec == Spec::StableEnd));
        w.array(topics.len());
        for (topic, partitions) in topics {
            w.string(topic);
            w.array(partitions.len());
            for partition in partitions {
                w.i32(*partition);
                if version >= 4 {
                    w.i32(-1); // whatever the leader's epoch
                }
                w.i64(if spec == Spec::Start { -2 } else { -1 });
                w.end();
            }
            w.end();
        }
        w.end();
    })
}

/// Hands topic, partition, error code and offset of each partition to `take`.
pub(super) fn list_offsets_said(
    version: i16,
    bytes: &[u8],
    mut take: impl FnMut(&str, i32, i16, i64),
) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes, is_flexible(Api::ListOffsets, version));
    r.i32()?; // throttle time
    for _ in 0..r.array()? {
        let topic = r.string()?;
        for _ in 0..r.array()? {
            let (partition, error) = (r.i32()?, r.i16()?);
            r.i64()?; // timestamp
            let offset = r.i64()?;
            if version >= 4 {
                r.i32()?; // leader epoch
            }
            r.end()?;
            take(topic, partition, error, offset);
        }
        r.end()?;
    }
    Ok(())
}

/// Who coordinates these groups. Below version 4 only the first is asked for.
pub(super) fn find_coordinator(version: i16, groups: &[&str]) -> Call {
    call(Api::FindCoordinator, version, |w| {
        if version >= 4 {
            w.i8(0); // groups, not transactions
            w.array(groups.len());
            for group in groups {
                w.string(group);
            }
            w.end();
        } else {
            w.string(groups.first().unwrap_or(&""));
            w.i8(0);
        }
    })
}

/// Hands group (none below version 4), error code, node id, host and port to `take`.
pub(super) fn find_coordinator_said(
    version: i16,
    bytes: &[u8],
    mut take: impl FnMut(Option<&str>, i16, i32, &str, i32),
) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes, is_flexible(Api::FindCoordinator, version));
    r.i32()?; // throttle time
    if version < 4 {
        let error = r.i16()?;
        r.nullable()?; // message
        let (node, host, port) = (r.i32()?, r.string()?, r.i32()?);
        take(None, error, node, host, port);
        return Ok(());
    }
    for _ in 0..r.array()? {
        let (group, node, host, port) = (r.string()?, r.i32()?, r.string()?, r.i32()?);
        let error = r.i16()?;
        r.nullable()?; // message
        r.end()?;
        take(Some(group), error, node, host, port);
    }
    Ok(())
}

/// What is wanted of one group: its commits on these partitions, by topic.
pub(super) type GroupAsked<'a> = (&'a str, Vec<(&'a str, Vec<i32>)>);

/// The commits of these groups. Below version 8 only the first is asked for.
pub(super) fn offset_fetch(version: i16, groups: &[GroupAsked<'_>]) -> Call {
    let topics = |w: &mut Writer, topics: &[(&str, Vec<i32>)]| {
        w.array(topics.len());
        for (topic, partitions) in topics {
            w.string(topic);
            w.array(partitions.len());
            for partition in partitions {
                w.i32(*partition);
            }
            w.end();
        }
    };
    call(Api::OffsetFetch, version, |w| {
        if version >= 8 {
            w.array(groups.len());
            for (group, asked) in groups {
                w.string(group);
                topics(w, asked);
                w.end();
            }
            w.bool(false); // commits of open transactions need not be waited for
            w.end();
        } else if let Some((group, asked)) = groups.first() {
            w.string(group);
            topics(w, asked);
        }
    })
}

/// One commit in an [`offset_fetch`] answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommitSaid<'a> {
    /// `None` below version 8: the one group asked for.
    pub(super) group: Option<&'a str>,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) error: i16,
    /// Below zero: no commit.
    pub(super) offset: i64,
}

/// Hands each commit to `take`, and each group with an error of its own to `fail`.
pub(super) fn offset_fetch_said<'a>(
    version: i16,
    bytes: &'a [u8],
    mut take: impl FnMut(CommitSaid<'a>),
    mut fail: impl FnMut(Option<&'a str>, i16),
) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes, is_flexible(Api::OffsetFetch, version));
    r.i32()?; // throttle time
    let groups = if version >= 8 { r.array()? } else { 1 };
    for _ in 0..groups {
        let group = if version >= 8 { Some(r.string()?) } else { None };
        for _ in 0..r.array()? {
            let topic = r.string()?;
            for _ in 0..r.array()? {
                let (partition, offset) = (r.i32()?, r.i64()?);
                if version >= 5 {
                    r.i32()?; // leader epoch
                }
                r.nullable()?; // the consumer's own note
                let error = r.i16()?;
                r.end()?;
                take(CommitSaid { group, topic, partition, error, offset });
            }
            r.end()?;
        }
        let error = r.i16()?;
        r.end()?;
        if error != code::NONE {
            fail(group, error);
        }
    }
    Ok(())
}

/// The records of these partitions from an offset on, as far as `max_bytes` of each go.
pub(super) fn fetch(is_committed_only: bool, max_bytes: i32, asked: &[(&str, i32, i64)]) -> Call {
    call(Api::Fetch, 4, |w| {
        w.i32(-1); // a client, not a replica
        w.i32(0); // do not wait
        w.i32(0); // for anything
        w.i32(max_bytes.saturating_mul(8)); // in all
        w.i8(i8::from(is_committed_only));
        w.array(asked.len());
        for (topic, partition, offset) in asked {
            w.string(topic);
            w.array(1);
            w.i32(*partition);
            w.i64(*offset);
            w.i32(max_bytes);
        }
    })
}

/// One partition of a [`fetch`] answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetched<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) error: i16,
    /// Producer id and first offset of transactions that were given up; only for committed reads.
    pub(super) aborted: Vec<(i64, i64)>,
    /// Record batches, the last perhaps cut off.
    pub(super) records: &'a [u8],
}

pub(super) fn fetch_said<'a>(
    bytes: &'a [u8],
    mut take: impl FnMut(Fetched<'a>),
) -> Result<(), Malformed> {
    let mut r = Reader::new(bytes, false);
    r.i32()?; // throttle time
    for _ in 0..r.array()? {
        let topic = r.string()?;
        for _ in 0..r.array()? {
            let (partition, error) = (r.i32()?, r.i16()?);
            r.i64()?; // high watermark
            r.i64()?; // last stable offset
            let count = r.array()?;
            let aborted = (0..count).map(|_| Ok((r.i64()?, r.i64()?))).collect::<Result<_, _>>()?;
            let records = r.blob()?;
            take(Fetched { topic, partition, error, aborted, records });
        }
    }
    Ok(())
}
