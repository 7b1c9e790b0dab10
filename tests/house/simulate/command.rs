//! `penstock simulate` as a shell sees it.

use std::process::{Command, Output};

use serde_json::Value;

fn penstock(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("simulate")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn scenario() -> tempfile::NamedTempFile {
    let text = format!(
        "{}
workload: {{diurnal: {{}}, peakReplicas: 5}}
world: {{rate: 100}}
duration: 1h
",
        super::PLAIN
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn policies_stand_side_by_side_in_a_table_and_in_json() {
    let file = scenario();
    let path = file.path().to_str().unwrap();
    let output = penstock(&[path, "--policy", "penstock,static=5", "--seeds", "2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}",
        output = output.stderr
    );
    let first: Vec<_> =
        text.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
    assert_eq!(first, ["plain:", "", "POLICY", "penstock", "static=5", "", "The"], "{text}");
    let output = penstock(&[path, "--policy", "static=5", "-o", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["entries"][0]["policy"], "static=5");
    assert_eq!(json["entries"][0]["summary"]["replicaHours"]["mean"], 5.0);
    assert_eq!(json["entries"][0]["runs"][0]["score"]["replicaHours"], 5.0);
}

#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let file = scenario();
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.html");
    let (path, to) = (file.path().to_str().unwrap(), report.to_str().unwrap());
    let output = penstock(&[path, "--policy", "penstock,static=5,keda", "--html", to]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for outside in ["src=", "<link", "@import", "url(h", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(page.matches("http").count(), 1, "only the name of SVG's namespace");
    assert!(["@title@", "@style@", "@data@", "@script@"].iter().all(|mark| !page.contains(mark)));
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: Value = serde_json::from_str(data).unwrap();
    let policies = data["policies"].as_array().unwrap();
    let names: Vec<_> = policies.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["penstock", "static=5", "keda"]);
    for policy in policies {
        let series = &policy["series"][0];
        for line in ["load", "delay", "replicas", "ready"] {
            assert_eq!(
                series[line].as_array().unwrap().len(),
                1200,
                "an hour in steps of 3 s: {line}"
            );
        }
    }
}

#[test]
fn what_is_asked_in_a_wrong_way_is_one_line_with_a_hint() {
    let file = scenario();
    let path = file.path().to_str().unwrap();
    for (arguments, code, told) in [
        (&["nowhere.yaml"][..], 2, "cannot read nowhere.yaml"),
        (&[path, "--policy", "clever"], 2, "no policy is called \"clever\"; hint: one of penstock"),
        (
            &[path, "--policy", "skyserve"],
            2,
            "skyserve needs a stage with lanes, one on demand and one on spot; hint: ",
        ),
        (&[path, "--seeds", "0"], 2, "0 is not in 1..=1000"),
        (&["deploy/examples/shortest.yaml"], 1, "deploy/examples/shortest.yaml: "),
    ] {
        let output = penstock(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_scenario_with_lanes_tells_its_pools_and_what_nodes_cost() {
    let example = std::fs::read_to_string("deploy/examples/scenarios/spot.yaml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [file, page] = ["short.yaml", "page.html"].map(|name| folder.path().join(name));
    let short = example.replace("1d13h", "2h").replace("duration: 2d", "duration: 4h");
    let short = short.replace("warmup: 6h", "warmup: 1h");
    assert_eq!(short.lines().count(), example.lines().count());
    std::fs::write(&file, short).unwrap();
    let [file, page] = [&file, &page].map(|path| path.to_str().unwrap());
    let output = penstock(&[file, "--html", page]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let begins: Vec<_> = text.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let told = |line: &str| begins.iter().position(|it| it.starts_with(line));
    let order = [
        "on-demand: on demand, 0.4 an hour; 4 pods fit on a node",
        "spot: on spot, 0.14 an hour; 4 pods fit on a node",
        "orders: 3h scored, 1 seed; no item later than 3 min.",
        "POLICY",
        "penstock",
        "all on demand",
        "all on spot",
        "2 and 70 % on spot",
        "SkyServe, base 2, extra 2",
        "The cheapest plan that knows all of this beforehand and is never late pays ",
    ];
    let places: Vec<_> = order.iter().map(|line| told(line)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{text}");
    let page = std::fs::read_to_string(page).unwrap();
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&data["isPriced"], data["pools"].as_array().unwrap().len()), (&true.into(), 2));
    let lanes = data["policies"][0]["series"][0]["lanes"].as_array().unwrap();
    let drawn: Vec<_> = lanes.iter().map(|lane| (&lane["pool"], &lane["isSpot"])).collect();
    assert_eq!(
        format!("{drawn:?}"),
        r#"[(String("on-demand"), Bool(false)), (String("spot"), Bool(true))]"#
    );
    assert!(data["policies"][0]["nodes"]["cost"]["mean"].as_f64().unwrap() > 0.0);
    let output = penstock(&[file, "--policy", "all-on-spot", "-o", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entry = &json["entries"][0];
    assert_eq!(entry["nodes"]["spotShare"]["mean"], 1.0);
    assert_eq!(entry["runs"][0]["nodes"]["pools"][1]["pool"], "spot");
    assert!(json["clairvoyantCost"].as_f64().unwrap() > 0.0, "{}", json["clairvoyantCost"]);
}

#[test]
fn columns_of_room_are_there_where_room_is_kept() {
    let example = std::fs::read_to_string("deploy/examples/scenarios/spot.yaml").unwrap();
    let short = example.replace("duration: 2d", "duration: 3h").replace("warmup: 6h", "warmup: 1h");
    let short = short.replace("1d13h", "100m");
    let columns = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let output = penstock(&[file.path().to_str().unwrap(), "--policy", "penstock"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let row = |begin: &str| {
            let line = text.lines().find(|line| line.starts_with(begin)).unwrap();
            line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).map(str::to_owned)
        };
        row("POLICY").zip(row("penstock")).collect::<Vec<_>>()
    };
    let lanes = "      lanes:\n";
    let with =
        short.replace(lanes, &format!("      capacity: {{headroom: {{mode: Auto}}}}\n{lanes}"));
    assert_ne!(with, short);
    let (with, without) = (columns(&with), columns(&short));
    assert_eq!(without.len() + 3, with.len());
    let room: Vec<_> = with[without.len()..].iter().map(|(head, _)| head.as_str()).collect();
    assert_eq!(room, ["ROOM", "ROOM'S COST", "NO PLACE/D"]);
    assert_ne!(with[without.len()].1, "0.0");
}
