//! The documentation, held against the program: what is generated is fresh, links lead somewhere, every manifest is accepted, every command
//! can be given, and is followed by the live tier or passed over for a reason.

use std::collections::BTreeSet;
use std::path::PathBuf;

use penstock::decide::Reason;

#[path = "../../pages/mod.rs"]
mod fences;
mod links;
pub(crate) mod api;
pub(crate) mod manual;
mod yaml;
mod values;
mod commands;
mod faults;

use fences::followed::{FOLLOWED, PASSED, is_followed, is_of, passed};
use fences::{Block, blocks, pages, root};

/// A path as a page names it: from its own folder, or from the root.
pub(super) fn found(page: &str, path: &str) -> Option<PathBuf> {
    let beside = root().join(page).parent().unwrap().join(path);
    [beside, root().join(path)].into_iter().find(|path| path.exists())
}

/// Fails with all of them, one a line.
fn none(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_reference_tells_every_field() {
    let text = api::page();
    let told = text.lines().filter(|line| line.starts_with("| `")).count();
    assert!(250 < told, "only {told} fields are told");
    for row in [
        "| `maxDelay` | duration | 60s where no stage has an objective or a threshold | 1s to 168h |",
        "### ScaledPipeline spec.stages[].sources[].kafka",
    ] {
        assert!(text.contains(row), "there is no {row}");
    }
}

#[test]
fn every_page_of_a_source_has_its_parts() {
    let parts =
        ["```yaml\napiVersion:", "\n## Fields\n", "\n## Faults\n", "](../../deploy/examples/"];
    let pages = manual::pages();
    assert_eq!(pages.len(), 15, "pages of sources");
    none(pages.iter().flat_map(|(path, text)| {
        let lacking = parts.iter().filter(|part| !text.contains(**part));
        lacking.map(move |part| format!("{path} has no {part:?}"))
    }));
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let links: Vec<_> = pages.iter().flat_map(links::of).collect();
    assert!(100 < links.len(), "only {} links were found", links.len());
    none(links.into_iter().filter_map(|link| link.fault(&pages)));
}

#[test]
fn the_index_names_every_page() {
    let pages = pages();
    let index = pages.iter().find(|page| page.path == "docs/README.md").unwrap();
    let named: BTreeSet<String> = links::of(index).into_iter().map(|link| link.to).collect();
    let is_of_a_folder = |path: &str| path.contains('/') && !path.ends_with("/README.md");
    let lacking = pages
        .iter()
        .filter_map(|page| page.path.strip_prefix("docs/"))
        .filter(|path| *path != "README.md" && !is_of_a_folder(path) && !named.contains(*path));
    none(lacking.map(|path| format!("docs/README.md does not name {path}")));
}

#[test]
fn every_block_says_what_it_is() {
    const LANGUAGES: &[&str] = &["sh", "console", "yaml", "sql", "text"];
    let blocks = blocks();
    assert!(150 < blocks.len(), "only {} blocks were found", blocks.len());
    let strange = blocks.iter().filter(|block| !LANGUAGES.contains(&block.language.as_str()));
    none(strange.map(|block| {
        format!("{}: a block of {:?}; choose one of {LANGUAGES:?}", block.place(), block.language)
    }));
}

#[test]
fn every_manifest_is_accepted_and_no_field_of_it_refused() {
    let blocks: Vec<Block> =
        blocks().into_iter().filter(|block| block.language == "yaml").collect();
    assert!(50 < blocks.len(), "only {} manifests were found", blocks.len());
    none(blocks.iter().flat_map(yaml::faults));
}

#[test]
fn every_recipe_shows_a_file_that_is_there_to_apply() {
    let pages = pages();
    let recipes: Vec<_> = pages
        .iter()
        .filter(|page| page.path.starts_with("docs/recipes/") && !page.path.ends_with("README.md"))
        .collect();
    assert!(7 < recipes.len(), "only {} recipes were found", recipes.len());
    let blocks = blocks();
    for recipe in recipes {
        let shown = blocks
            .iter()
            .filter(|block| block.page == recipe.path)
            .filter(|block| block.text.starts_with("# deploy/examples/"));
        assert_ne!(shown.count(), 0, "{} shows no file of deploy/examples", recipe.path);
    }
}

#[test]
fn every_command_can_be_given() {
    let commands = commands::all();
    assert!(150 < commands.len(), "only {} commands were found", commands.len());
    none(commands.iter().filter_map(commands::Command::fault));
}

#[test]
fn every_command_is_followed_or_passed_over_for_a_reason() {
    let commands = commands::all();
    let neither = commands.iter().filter(|command| {
        !is_followed(command.page()) && passed(command.page(), command.text()).is_none()
    });
    none(neither.map(|command| {
        format!(
            "{}: `{}` is followed by no test; see tests/pages/followed.rs",
            command.page(),
            command.text()
        )
    }));
    // What is said of pages and commands is true.
    let tests = std::fs::read_to_string(root().join("tests/live/chart/followed/pages.rs")).unwrap();
    let single = FOLLOWED.iter().filter(|page| !page.ends_with('/'));
    let unread = single.filter(|page| !tests.contains(&format!("\"{page}\"")));
    none(unread.map(|page| format!("no test follows {page}")));
    for (pages, start, why) in PASSED {
        let is_used =
            commands.iter().any(|it| is_of(it.page(), pages) && it.text().starts_with(start));
        assert!(is_used, "there is no `{start}` on {pages}");
        let files = why.split([' ', ';', ',']).filter(|word| word.starts_with("tests/"));
        none(
            files
                .filter(|file| {
                    !root().join(file).exists() && !root().join(format!("{file}.rs")).exists()
                })
                .map(|file| format!("{start}: there is no {file}")),
        );
    }
}

#[test]
fn every_code_on_the_page_of_missing_data_is_met_in_the_tests_that_it_names() {
    let page = std::fs::read_to_string(root().join("docs/missing-data.md")).unwrap();
    let read = |name: &str| std::fs::read_to_string(root().join("tests/house").join(name)).unwrap();
    let tests =
        ["decide/missing.rs", "decide/blind.rs", "decide/jobs.rs", "jobs.rs"].map(read).concat();
    let is_named = |code: &&&str| page.contains(&format!("`{code}`"));
    let named: Vec<_> = Reason::CODES.iter().filter(is_named).collect();
    assert!(15 < named.len(), "{named:?}");
    none(
        named
            .iter()
            .filter(|code| !tests.contains(**code))
            .map(|code| format!("no test meets {code}")),
    );
}

#[test]
fn what_a_page_installs_is_made_before() {
    let commands = commands::all();
    for page in ["README.md", "charts/penstock/README.md", "docs/getting-started.md"] {
        let here: Vec<_> = commands.iter().filter(|it| it.page() == page).collect();
        let first = |start: &str| here.iter().position(|it| it.text().starts_with(start));
        let install = first("helm install").unwrap_or_else(|| panic!("{page} installs nothing"));
        let image = first("docker push").or_else(|| first("skopeo copy"));
        assert!(image.is_some_and(|at| at < install), "{page}: the image comes from nowhere");
        let next = here.get(install + 1).map_or("", |it| it.text());
        assert!(next.contains(" rollout status "), "{page}: nobody waits for the pods: {next}");
        let asks = here.iter().position(|it| {
            it.text().starts_with("penstock ") && !it.text().starts_with("penstock --version")
        });
        let is_built = first("cargo install").is_some_and(|at| asks.is_some_and(|it| at < it));
        assert!(asks.is_none() || is_built, "{page}: the command line comes from nowhere");
    }
}

#[test]
fn every_value_that_gives_a_right_is_told_where_security_is() {
    let chart = std::fs::read_to_string(root().join("charts/penstock/README.md")).unwrap();
    let security = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let rows = chart.lines().skip_while(|line| *line != "| value | right |").skip(2);
    let values: Vec<_> = rows
        .take_while(|row| row.starts_with('|'))
        .filter_map(|row| row.split('`').nth(1))
        .collect();
    assert!(10 < values.len(), "only {values:?} were found");
    let lacking = values.iter().filter(|value| !security.contains(&format!("`{value}`")));
    none(lacking.map(|value| format!("docs/security.md does not name {value}")));
}

#[test]
fn what_outlives_the_daemon_is_deleted_by_the_labels_it_has() {
    let labels = [penstock::decide::ReserveSeen::LABEL, penstock::decide::Draining::LABEL];
    for path in ["docs/operations.md", "charts/penstock/templates/NOTES.txt"] {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let deleted = |label: &&str| {
            let end = format!(" -A -l {label}");
            text.lines().any(|it| it.trim().starts_with("kubectl delete ") && it.ends_with(&end))
        };
        let lacking = labels.into_iter().filter(|label| !deleted(label));
        none(lacking.map(|label| format!("{path} deletes nothing with {label}")));
    }
}

#[test]
fn every_command_and_flag_within_a_sentence_is_real() {
    none(commands::in_sentences());
}

#[test]
fn what_needs_no_cluster_does_what_it_says() {
    let ran = commands::all().iter().filter(|command| command.runs()).count();
    assert!(3 < ran, "only {ran} commands were run");
}

#[test]
fn bad_pages_are_found_out() {
    for (language, text, said) in [
        (
            "yaml",
            "apiVersion: penstock.dev/v1alpha1\nkind: ScaledPipeline\nmetadata: {name: a}\nspec: {stages: [{name: a, target: {name: a}, replicas: {min: 2, max: 1}}]}",
            "min must not be above max",
        ),
        (
            "yaml",
            "apiVersion: penstock.dev/v1alpha1\nkind: ScaledPipeline\nmetadata: {name: a}\nspec: {stages: [{name: a, target: {name: a}, replicas: {max: 1}, actuate: HPA}]}",
            "actuate",
        ),
        ("yaml", "# in a stage\nidle: {replica: 0}", "unknown field"),
        ("yaml", "# in the spec of a Connection\nkafka: {strimzi: {}}", "cluster"),
        ("yaml", "# values.yaml\nreplicasCount: 2", "replicasCount"),
        ("yaml", "# scenario.yaml\nworkload: {}", "is no scenario"),
        ("yaml", "# deploy/examples/shortest.yaml\napiVersion: v1\nkind: X", "another text"),
        ("yaml", "what: ever", "belongs"),
        ("sh", "penstock explain -n shop orders --loud", "--loud"),
        ("sh", "penstock explain", "NAME"),
        ("sh", "penstock simulate nowhere.yaml", "nowhere.yaml"),
        ("sh", "helm install penstock charts/pen -n penstock", "charts/pen"),
        (
            "sh",
            "helm install penstock charts/penstock -n penstock --set jobs.enable=true",
            "jobs.enable",
        ),
        (
            "sh",
            "helm install penstock charts/penstock -n penstock --sett jobs.enabled=true",
            "--sett",
        ),
        // What an older chart stored knows nothing of the values of this one.
        (
            "sh",
            "helm upgrade --install penstock charts/penstock -n penstock --reuse-values",
            "--reuse-values",
        ),
        ("sh", "kubectl apply -f deploy/example.yaml", "deploy/example.yaml"),
        ("sh", "kubectl fly -f deploy", "fly"),
        ("sh", "kubectl get scalepipelines", "scalepipelines"),
        ("sh", "make coffee", "coffee"),
        ("sh", "cargo bench --bench nothing", "nothing"),
        ("sh", "penstok top", "penstok"),
        ("sh", "kubectl get 'pods", "quote"),
    ] {
        let block = Block {
            page: "docs/README.md".to_owned(),
            line: 1,
            language: language.to_owned(),
            text: text.to_owned(),
        };
        let mut faults = if language == "yaml" { yaml::faults(&block) } else { Vec::new() };
        faults.extend(commands::of(&block).iter().filter_map(commands::Command::fault));
        assert!(
            faults.iter().any(|fault| fault.contains(said)),
            "{text}\n{faults:?} do not say {said}"
        );
    }
}
