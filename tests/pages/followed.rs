//! Which commands of the pages are given to a shell, and which are not, with the reason. The live tier follows the pages of the first list;
//! the fast tier fails for a command that is in neither, and for a line of the second that no command is behind.

use super::pages;

/// Pages whose commands `tests/live/chart/followed` runs in their order, and whose answers it reads; a folder stands for all its pages.
pub(crate) const FOLLOWED: &[&str] = &[
    "README.md",
    "charts/penstock/README.md",
    "deploy/README.md",
    "deploy/examples/",
    "docs/capacity.md",
    "docs/check.md",
    "docs/getting-started.md",
    "docs/operations.md",
    "docs/page.md",
    "docs/recipes/",
    "docs/security.md",
];

/// Commands that nobody follows there: the page, or the folder of pages; how they begin; why they cannot run, and what is tried instead.
pub(crate) const PASSED: &[(&str, &str, &str)] = &[
    (
        "README.md",
        "cargo run --release -- demo",
        "ten minutes of release build; tests/live/page.rs runs the demo",
    ),
    (
        "README.md",
        "penstock simulate",
        "three days take minutes where nothing is optimised; tests/house/simulate runs the command",
    ),
    ("README.md", "make test", "these are the tests"),
    ("README.md", "cargo install", "the tests run the binary that cargo built"),
    (
        "README.md",
        "docker ",
        "wants a container engine; deploy/image/test tries the other recipe's image",
    ),
    (
        "charts/penstock/README.md",
        "make image",
        "ten minutes of release build; deploy/image/test tries the image",
    ),
    ("charts/penstock/README.md", "skopeo ", "wants a registry; deploy/image/test tries the image"),
    ("docs/getting-started.md", "cargo install", "the tests run the binary that cargo built"),
    (
        "docs/getting-started.md",
        "docker ",
        "wants a container engine; deploy/image/test tries the other recipe's image",
    ),
    (
        "docs/getting-started.md",
        "kind load",
        "wants a container engine; deploy/image/test tries the image",
    ),
    (
        "docs/getting-started.md",
        "make image",
        "ten minutes of release build; deploy/image/test tries the image",
    ),
    ("docs/getting-started.md", "skopeo ", "wants a registry; deploy/image/test tries the image"),
    ("docs/operations.md", "git pull", "the tests run what is there"),
    ("docs/operations.md", "cargo install", "the tests run the binary that cargo built"),
    (
        "docs/operations.md",
        "docker ",
        "wants a container engine; deploy/image/test tries the other recipe's image",
    ),
    (
        "docs/concepts.md",
        "penstock explain",
        "shows how it is asked; docs/getting-started.md has it followed",
    ),
    (
        "docs/headroom.md",
        "kubectl ",
        "looks at what tests/live/headroom.rs makes, and takes it away",
    ),
    (
        "docs/keda.md",
        "penstock convert",
        "wants KEDA in the cluster; tests/house/docs runs it on the page's own file",
    ),
    (
        "docs/keda.md",
        "penstock validate",
        "wants KEDA in the cluster; tests/house/docs runs it on the page's own file",
    ),
    (
        "docs/keda.md",
        "penstock explain",
        "wants KEDA in the cluster; docs/getting-started.md has it followed",
    ),
    (
        "docs/keda.md",
        "kubectl ",
        "wants KEDA in the cluster; tests/house/convert.rs reads what would be applied",
    ),
    ("docs/lanes.md", "make bench-capacity", "a benchmark of many minutes"),
    ("docs/lanes.md", "cargo bench", "a benchmark of many minutes"),
    ("docs/quality.md", "make quality", "a benchmark of hours"),
    ("docs/quality.md", "cargo bench", "a benchmark of many minutes"),
    ("docs/replay.md", "penstock run --record", "never ends; tests/live/boards records a daemon"),
    (
        "docs/replay.md",
        "penstock demo --record",
        "records for minutes; tests/live/page.rs runs the demo",
    ),
    (
        "docs/replay.md",
        "penstock replay",
        "tests/house/replay.rs has this recording and this answer",
    ),
    (
        "docs/replay.md",
        "kubectl get spl",
        "tests/house/replay.rs writes the manifest that this saves",
    ),
    (
        "docs/simulate.md",
        "penstock simulate",
        "days of ten seeds; tests/house/simulate runs the command, and reads the scenarios",
    ),
    (
        "docs/telemetry.md",
        "penstock run",
        "never ends; tests/house/telemetry.rs has it speak to a collector",
    ),
    (
        "deploy/examples/openlineage/",
        "helm upgrade",
        "wants the token's file of a real pod; tests/live/chart/followed renders it",
    ),
    (
        "deploy/examples/openlineage/",
        "curl ",
        "wants the Service of real pods; tests/live/lineage.rs posts the event",
    ),
    (
        "deploy/examples/rabbitmq/",
        "rabbitmqctl ",
        "wants the server's own shell; tests/live/rabbitmq.rs logs in as such a user",
    ),
];

/// Is this the page, or a page of the folder, that stands in one of the lists?
pub(crate) fn is_of(page: &str, listed: &str) -> bool {
    if listed.ends_with('/') { page.starts_with(listed) } else { page == listed }
}

/// Are the commands of this page followed?
pub(crate) fn is_followed(page: &str) -> bool {
    FOLLOWED.iter().any(|listed| is_of(page, listed))
}

/// The pages that stand for all of a folder, by name.
pub(crate) fn of_folders() -> Vec<String> {
    let folders = FOLLOWED.iter().filter(|listed| listed.ends_with('/'));
    let folders: Vec<_> = folders.collect();
    let pages = pages().into_iter().map(|page| page.path);
    pages.filter(|page| folders.iter().any(|folder| is_of(page, folder))).collect()
}

/// Why a command is not followed, where that is said.
pub(crate) fn passed(page: &str, command: &str) -> Option<&'static str> {
    let said =
        PASSED.iter().find(|(pages, start, _)| is_of(page, pages) && command.starts_with(start));
    said.map(|(.., why)| *why)
}
