//! Every Helm command and values file of all pages, rendered by the real Helm.

use anyhow::{Context, Result, ensure};

use crate::chart::{documents, helm, template};
use crate::pages::{blocks, script};
use crate::rig::fresh_folder;

#[tokio::test]
async fn helm_takes_the_values_of_every_page() -> Result<()> {
    let folder = fresh_folder("values")?;
    let mut count = 0;
    for block in blocks() {
        if block.heading() == Some("values.yaml") {
            let file = folder.join("values.yaml");
            std::fs::write(&file, &block.text)?;
            let rendered = template(&["-f", &file.display().to_string()]).await;
            let rendered = documents(&rendered.with_context(|| block.place())?)?;
            ensure!(rendered.len() > 10, "{}: {} objects", block.place(), rendered.len());
            count += 1;
        }
        let commands = if block.language == "sh" { script(&block.text, "") } else { Vec::new() };
        for (_, command) in commands {
            let Some(words) = shlex::split(&command).filter(|words| words[0] == "helm") else {
                continue;
            };
            if !words.iter().any(|word| word == "charts/penstock") {
                continue;
            }
            let sets = words.windows(2).filter(|pair| pair[0] == "--set");
            let sets: Vec<&str> = sets.flat_map(|pair| pair.iter().map(String::as_str)).collect();
            let rendered =
                helm()?.args(["template", "penstock", "charts/penstock"]).args(sets).run().await;
            let rendered = rendered.with_context(|| format!("{}: {command}", block.place()))?;
            ensure!(documents(&rendered)?.len() > 10, "{}: {command}", block.place());
            count += 1;
        }
    }
    ensure!(count > 20, "only {count} were rendered");
    Ok(())
}
