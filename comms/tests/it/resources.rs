//! Communication resources and their numbers.

use gridpost_comms::resources::{ServicePatch, ServiceSpec};
use gridpost_comms::{AssignError, EventShape};
use gridpost_grid::manage::{Created, ManageError};
use gridpost_grid::scope::Scope;
use gridpost_model::WhichKey;

use crate::world::{HANDSET, OWNED, World, number, resource, shape, spec, to_each};

#[tokio::test]
async fn a_resource_keeps_its_identity_when_it_is_put_again() {
    let world = World::start().await;
    let before = world.dev();
    let again = ServiceSpec {
        tags: shape("2020-09"),
        ..spec()
    };
    let (after, created) = world
        .comms
        .put_resource(resource("DEV"), again)
        .await
        .unwrap();
    assert_eq!(created, Created::Updated);
    assert_eq!(after.immutable_id, before.immutable_id);
    assert_eq!(after.keys, before.keys);
    assert_eq!(after.id.as_str(), before.id.as_str());
    assert_eq!(after.event_shape(), EventShape::Of2020);
    assert_eq!(after.host_name, "localhost:8480");
    assert_eq!(world.comms.all_resources().len(), 1);
}

#[tokio::test]
async fn the_data_location_and_the_tag_are_checked() {
    let world = World::start().await;
    let moved = ServiceSpec {
        data_location: "Europe".into(),
        ..spec()
    };
    let refused = world
        .comms
        .put_resource(resource("dev"), moved)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ManageError::Invalid(invalid) if invalid.field.ends_with("dataLocation"))
    );
    let patch = ServicePatch {
        tags: Some(shape("1999")),
        ..ServicePatch::default()
    };
    let refused = world
        .comms
        .patch_resource(&resource("dev"), patch.clone())
        .await
        .unwrap_err();
    assert!(matches!(refused, ManageError::Invalid(_)));
    let refused = world
        .comms
        .patch_resource(&resource("none"), patch)
        .await
        .unwrap_err();
    assert!(matches!(refused, ManageError::NotFound(_)));
}

#[tokio::test]
async fn one_key_is_replaced_and_the_other_stays() {
    let world = World::start().await;
    let before = world.dev();
    let after = world
        .comms
        .regenerate_key(&before.id, WhichKey::Second)
        .await
        .unwrap();
    assert_eq!(after.keys.first, before.keys.first);
    assert_ne!(after.keys.second, before.keys.second);
    assert_eq!(world.dev().keys, after.keys);
}

#[tokio::test]
async fn resources_and_numbers_survive_a_restart() {
    let world = World::start().await;
    let before = world.dev();
    let world = world.restart().await;
    assert_eq!(world.dev(), before);
    assert_eq!(world.comms.numbers_of(&before.id), [number(OWNED)]);
    assert_eq!(
        world.comms.owner_of(&number(OWNED)),
        Some(before.id.clone())
    );
}

#[tokio::test]
async fn a_number_has_one_owner() {
    let world = World::start().await;
    world
        .comms
        .put_resource(resource("other"), spec())
        .await
        .unwrap();
    let refused = world.comms.assign(&resource("other"), number(OWNED)).await;
    assert!(matches!(refused, Err(AssignError::Taken(owner)) if owner == resource("dev")));
    world
        .comms
        .assign(&resource("dev"), number(OWNED))
        .await
        .unwrap();
    assert!(world.comms.release(&number(OWNED)).await.unwrap());
    assert!(!world.comms.release(&number(OWNED)).await.unwrap());
    world
        .comms
        .assign(&resource("other"), number(OWNED))
        .await
        .unwrap();
    let refused = world
        .comms
        .assign(&resource("none"), number("+15555550109"))
        .await;
    assert!(matches!(refused, Err(AssignError::NoSuchResource(_))));
}

#[tokio::test]
async fn a_deleted_resource_leaves_nothing_behind() {
    let world = World::start().await;
    world.send_to("+15555553060").await;
    world.settle().await;
    assert!(world.comms.delete_resource(&resource("dev")).await.unwrap());
    assert!(!world.comms.delete_resource(&resource("dev")).await.unwrap());
    assert!(world.comms.numbers().is_empty());
    assert!(world.comms.all_resources().is_empty());

    // Its message ends without a word.
    world.advance(std::time::Duration::from_mins(1)).await;
    assert!(world.events().is_empty());
    let world = world.restart().await;
    assert!(world.comms.resource(&resource("dev")).is_none());
}

#[tokio::test]
async fn scopes_show_what_lies_in_them() {
    let world = World::start().await;
    let group = |group: &str| Scope::ResourceGroup {
        subscription: "SUB".into(),
        group: group.into(),
    };
    assert_eq!(world.comms.resources(&group("RG")).len(), 1);
    assert!(world.comms.resources(&group("elsewhere")).is_empty());
}

#[tokio::test]
async fn a_text_between_two_resources_comes_back_in() {
    let world = World::start().await;
    let (other, _) = world
        .comms
        .put_resource(resource("other"), spec())
        .await
        .unwrap();
    world
        .comms
        .assign(&other.id, number("+15555550150"))
        .await
        .unwrap();
    world.send(to_each(&["+15555550150", OWNED, HANDSET])).await;
    world.advance(std::time::Duration::from_millis(100)).await;
    let received = world.data("SMSReceived");
    let to: Vec<_> = received
        .iter()
        .map(|data| data["to"].as_str().unwrap())
        .collect();
    assert_eq!(to.len(), 2);
    assert!(to.contains(&"15555550150") && to.contains(&"15555550100"));
    assert_eq!(world.reports().len(), 3);
}
