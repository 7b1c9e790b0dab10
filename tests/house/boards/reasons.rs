//! The page `docs/reasons.md`, made of decide's closed list of reasons, of those of conditions, and of the kinds of fault.

use std::fmt::Write;

use penstock::crd::meaning::Code;
use penstock::report::REASONS;

use crate::decide::words::every_reason;

const HEAD: &str = r"<!-- Made of src/decide/reason.rs, src/report/conditions.rs and src/crd/meaning by `make boards`; edit those, or tests/house/boards/reasons.rs. -->
# Reasons
Every code that Penstock says, in one list. A code is closed and stays: dashboards and alerts may rest on it.

## Of stages
Why a stage has the replicas it has. The code and its sentence stand in `status.stages[].reason`, in Events, on the page and in `penstock explain`, and conditions that a stage makes
carry them; the code is the label `reason` of the [metrics](metrics.md). The sentences below are examples. A *hold* keeps a stage from what it wishes, and is counted
by `penstock_holds_total`; the bounds that you wrote are none, nor is a step that is on its way.

| code | hold | a sentence | to change it |
| --- | --- | --- | --- |
";

const CONDITIONS: &str = r"
## Of conditions
What a condition of a ScaledPipeline carries besides the codes above.

| reason | of | what it says |
| --- | --- | --- |
";

const FAULTS: &str = r"
## Of what was written
Reasons of Ready=False. The message names the field, the rule and a hint, and each stage that it concerns keeps what it has; `penstock validate` says the same before.

| reason | what is wrong |
| --- | --- |
";

const TAIL: &str = r"
A source that cannot be read until somebody mends something gives Ready its own word, as `UnknownTopic` or `AuthenticationFailed`: see *Faults* on the [page of the source](sources.md).

## Of Events
Events carry the codes above, and these: `ScaledUp`, `ScaledDown`, `JobsCreated`; and `CODEEnded` or `CONDITIONEnded` when what was odd or wrong is over.
";

/// Each reason of conditions, where it stands, and what it says.
const OF_CONDITIONS: [(&str, &str, &str); 17] = [
    ("Serving", "Ready=True", "every stage is watched, sized and served"),
    (
        "CredentialsRefused",
        "Ready=True",
        "every stage is served, but a source only by its former credentials: mend the newest before those end",
    ),
    ("Working", "Active=True", "work waits or arrives"),
    ("Quiet", "Active=False", "nothing has waited or arrived for a minute"),
    (
        "NotKnown",
        "Active, Paused, Fallback, ObjectiveMet or WriterConflict=Unknown",
        "the pipeline cannot be read; of Active also that no source has said what waits",
    ),
    ("NotPaused", "Paused=False", "no annotation holds it"),
    ("ScaleInPaused", "Paused=True", "never fewer, by annotation"),
    ("ScaleOutPaused", "Paused=True", "never more, by annotation"),
    (
        "NotNeeded",
        "Fallback=False",
        "its sources answer, or have not been silent for `fallback.after` yet",
    ),
    ("NoObjective", "ObjectiveMet=Unknown", "no stage is sized by an objective"),
    (
        "ObjectiveBelowResolution",
        "ObjectiveMet=Unknown",
        "a delay is promised that is finer than can be seen; the message names the finest one that can be kept",
    ),
    ("DelayUnknown", "ObjectiveMet=Unknown", "the delay of a stage is not known"),
    ("InTime", "ObjectiveMet=True", "every stage keeps its objective"),
    (
        "Late",
        "ObjectiveMet=False",
        "the oldest item of a stage has waited longer than was promised, now or within the last minute",
    ),
    ("RoomForAll", "CapacityShort=False", "nothing lacks nodes, money or quota"),
    ("SoleWriter", "WriterConflict=False", "nobody else writes its replicas"),
    ("Settled", "Reconciling=False, Stalled=False", "it neither comes up nor waits for a hand"),
];

const CODES: [Code; 8] = [
    Code::InvalidSpec,
    Code::InvalidAnnotation,
    Code::NotYetSupported,
    Code::ConnectionNotFound,
    Code::ConnectionMismatch,
    Code::InvalidConnection,
    Code::NamespaceNotAllowed,
    Code::SecretNamespaceNotAllowed,
];

/// What is wrong, by its kind. A new one does not compile until it has its words here, and its place above.
fn wrong(code: Code) -> &'static str {
    match code {
        Code::InvalidSpec => "a rule is broken; no stage of the pipeline moves until it is mended",
        Code::InvalidAnnotation => {
            "an annotation of `penstock.dev` cannot be read; no stage moves until it can"
        }
        Code::NotYetSupported => "a field that this version cannot serve; it is never ignored",
        Code::ConnectionNotFound => "there is no such Connection or ClusterConnection",
        Code::ConnectionMismatch => "the connection is of another kind than the source",
        Code::InvalidConnection => "the connection itself breaks a rule",
        Code::NamespaceNotAllowed => "the ClusterConnection does not allow this namespace",
        Code::SecretNamespaceNotAllowed => "the daemon may not lend the Secrets of that namespace",
    }
}

pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    for reason in every_reason() {
        let hold = if reason.is_hold() { "yes" } else { "" };
        let [sentence, hint] = [reason.to_string(), reason.hint().unwrap_or_default().into_owned()]
            .map(|it| cell(&it));
        writeln!(page, "| `{}` | {hold} | {sentence} | {hint} |", reason.code()).unwrap();
    }
    page += CONDITIONS;
    assert_eq!(OF_CONDITIONS.map(|(reason, ..)| reason), REASONS, "the words are those of report");
    for (reason, of, says) in OF_CONDITIONS {
        writeln!(page, "| `{reason}` | {of} | {says} |").unwrap();
    }
    page += FAULTS;
    for code in CODES {
        writeln!(page, "| `{}` | {} |", code.label(), wrong(code)).unwrap();
    }
    page + TAIL
}

/// A text in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
