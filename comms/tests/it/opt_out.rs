//! STOP, START and the calls that do the same.

use std::time::Duration;

use gridpost_comms::sms::OptOutError;

use crate::world::{HANDSET, OWNED, World, number, resource, spec, to_each};

const SOON: Duration = Duration::from_millis(100);

impl World {
    async fn opted_out(&self, to: &str) -> bool {
        self.settle().await;
        let found = self
            .comms
            .check_opt_outs(&self.dev(), OWNED, &[to.to_owned()])
            .unwrap();
        found[0].is_opted_out.unwrap()
    }
}

#[tokio::test]
async fn stop_blocks_and_start_unblocks_and_both_are_published() {
    let world = World::start().await;
    world.text(HANDSET, "Stop").await;
    assert!(world.opted_out(HANDSET).await);
    let id = world.send_to(HANDSET).await;
    world.advance(SOON).await;
    let report = &world.reports()[0];
    assert_eq!(report["deliveryStatus"], "Failed");
    assert_eq!(
        report["deliveryStatusDetails"],
        "4007: The Destination/To number has opted out of receiving messages from you"
    );
    assert_eq!(report["deliveryAttempts"][0]["segmentsFailed"], 1);
    assert_eq!(world.status_of(&id), Some("Failed"));
    assert!(world.texts(HANDSET).is_empty());

    world.text(HANDSET, "UNSTOP").await;
    world.send_to(HANDSET).await;
    world.advance(SOON).await;
    assert_eq!(world.texts(HANDSET).len(), 1);
    assert_eq!(world.data("SMSReceived").len(), 2);
}

#[tokio::test]
async fn an_opt_out_counts_for_one_sender_and_survives_a_restart() {
    let world = World::start().await;
    world
        .comms
        .assign(&resource("dev"), number("+15555550101"))
        .await
        .unwrap();
    world.text(HANDSET, "STOP").await;
    let world = world.restart().await;
    assert!(world.opted_out(HANDSET).await);
    let mut request = to_each(&[HANDSET]);
    request.from = "+15555550101".into();
    world.send(request).await;
    world.advance(SOON).await;
    assert_eq!(world.texts(HANDSET).len(), 1);
}

#[tokio::test]
async fn the_calls_read_and_write_the_same_list() {
    let world = World::start().await;
    let dev = world.dev();
    let recipients = [HANDSET.to_owned(), "nobody".to_owned()];
    let added = world
        .comms
        .add_opt_outs(&dev, OWNED, &recipients)
        .await
        .unwrap();
    assert_eq!((added[0].status(), added[0].is_opted_out), (200, None));
    assert_eq!(added[1].status(), 400);
    assert_eq!(
        added[1].error(),
        Some("Invalid recipient phone number format")
    );
    assert!(world.opted_out(HANDSET).await);

    let checked = world
        .comms
        .check_opt_outs(&dev, OWNED, &recipients)
        .unwrap();
    assert_eq!(checked[1].is_opted_out, None);
    world
        .comms
        .remove_opt_outs(&dev, OWNED, &recipients)
        .await
        .unwrap();
    assert!(!world.opted_out(HANDSET).await);
}

#[tokio::test]
async fn the_calls_refuse_foreign_senders_and_long_lists() {
    let world = World::start().await;
    let dev = world.dev();
    let one = [HANDSET.to_owned()];
    let refused = world.comms.add_opt_outs(&dev, "+15555550199", &one).await;
    assert!(matches!(refused, Err(OptOutError::NotOwned)));
    let refused = world.comms.add_opt_outs(&dev, "?", &one).await;
    assert!(matches!(refused, Err(OptOutError::BadFrom)));
    let refused = world
        .comms
        .check_opt_outs(&dev, OWNED, &vec![HANDSET.to_owned(); 101]);
    assert!(matches!(refused, Err(OptOutError::Recipients(101))));
}

#[tokio::test]
async fn a_new_resource_of_the_same_name_starts_without_opt_outs() {
    let world = World::start().await;
    world.text(HANDSET, "STOP").await;
    world.comms.delete_resource(&resource("dev")).await.unwrap();
    world
        .comms
        .put_resource(resource("dev"), spec())
        .await
        .unwrap();
    world
        .comms
        .assign(&resource("dev"), number(OWNED))
        .await
        .unwrap();
    assert!(!world.opted_out(HANDSET).await);
}
