//! SQS as a source, asked of a real server that speaks it: visible, in flight and delayed, a queue that is not there, and a server that goes and
//! comes back.

use anyhow::Result;
use penstock::observe::sqs::{self, Login};
use penstock::observe::{Address, Ask};

use crate::beside::{Watched, keys};
use crate::rig::ElasticMq;

fn place(server: &ElasticMq) -> Address {
    Address::Sqs(sqs::Address {
        connection: "shop/queues".to_owned(),
        region: "elasticmq".to_owned(),
        endpoint: Some(server.url()),
        login: Login::Keys,
    })
}

fn depth(url: &str, in_flight: bool, delayed: bool) -> Ask {
    Ask::Sqs(sqs::Ask { queue_url: url.to_owned(), in_flight, delayed })
}

#[tokio::test]
async fn sqs_tells_what_is_visible_in_flight_and_delayed() -> Result<()> {
    let server = ElasticMq::start().await?;
    let url = server.queue("todo", 300).await?;
    let gone = url.replace("todo", "gone");
    server.send(&url, 25, 0).await?;
    server.send(&url, 3, 600).await?;
    let login = || keys(&[("access-key", "AKID"), ("secret-key", "s3cret")]);
    let ask = |name: &'static str, ask: Ask| (name, place(&server), ask, login());
    let mut watched = Watched::asking(vec![
        ask("visible", depth(&url, false, false)),
        ask("busy", depth(&url, true, false)),
        ask("all", depth(&url, true, true)),
        ask("gone", depth(&gone, true, false)),
    ]);
    watched.is("visible", 25.0).await?;
    watched.is("busy", 25.0).await?;
    watched.is("all", 28.0).await?;
    let said = watched.lacks("gone", "NotFound").await?;
    assert!(said.contains("has no queue gone"), "{said}");
    // Ten are being worked on: they are no longer visible, and still somebody's work.
    let handles = server.receive(&url).await?;
    watched.is("visible", 15.0).await?;
    watched.is("busy", 25.0).await?;
    assert_eq!(handles.len(), 10);
    for handle in handles {
        let done = serde_json::json!({"QueueUrl": url, "ReceiptHandle": handle});
        server.ask("DeleteMessage", done).await?;
    }
    watched.is("busy", 15.0).await?;
    watched.is("all", 18.0).await?;
    server.process().kill9();
    watched.lacks("busy", "Unreachable").await?;
    server.process().start_again()?;
    server.ready().await?;
    // Its queues were in its memory: what is gone is no zero.
    watched.lacks("busy", "NotFound").await?;
    server.queue("todo", 300).await?;
    watched.is("busy", 0.0).await?;
    watched.visited().await?;
    watched.observe.shutdown().await;
    Ok(())
}
