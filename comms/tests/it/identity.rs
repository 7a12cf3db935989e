//! Users and their tokens, over restarts and at the same moment.

use gridpost_comms::identity::{BadToken, Lifetime, NewIdentity, Scope, Scopes, TokenWish, UserId};

use crate::world::{World, resource, spec};

fn with_token(custom_id: Option<&str>) -> NewIdentity {
    let wish = TokenWish {
        scopes: Scopes::of_one(Scope::Chat),
        lifetime: Lifetime::default(),
    };
    NewIdentity {
        custom_id: custom_id.map(str::to_owned),
        token: Some(wish),
    }
}

impl World {
    /// A new user, and the text of its token.
    async fn user(&self) -> (UserId, String) {
        let made = self
            .comms
            .create_identity(&self.dev(), with_token(None))
            .await;
        let made = made.unwrap();
        (made.id, made.token.unwrap().text.reveal().to_owned())
    }
}

#[tokio::test]
async fn tokens_and_their_revocation_survive_the_death_of_the_process() {
    let world = World::start().await;
    let (good, good_token) = world.user().await;
    let (revoked, revoked_token) = world.user().await;
    let (deleted, deleted_token) = world.user().await;
    world
        .comms
        .revoke_tokens(&world.dev(), &revoked)
        .await
        .unwrap();
    world
        .comms
        .delete_identity(&world.dev(), &deleted)
        .await
        .unwrap();

    let keys = world.comms.token_keys();
    let world = world.after_kill();

    assert_eq!(world.comms.token_keys(), keys);
    assert_eq!(world.comms.user_of(&good_token).unwrap().id, good);
    for token in [revoked_token, deleted_token] {
        let refused = world.comms.user_of(&token);
        assert!(matches!(refused, Err(BadToken::Revoked)), "{refused:?}");
    }
    assert!(world.comms.identity(&world.dev(), &revoked).is_ok());
    assert!(world.comms.identity(&world.dev(), &deleted).is_err());
}

#[tokio::test]
async fn a_custom_id_asked_for_twice_at_once_is_one_identity() {
    let world = World::start().await;
    let dev = world.dev();
    let (one, other) = tokio::join!(
        world.comms.create_identity(&dev, with_token(Some("alice"))),
        world.comms.create_identity(&dev, with_token(Some("alice"))),
    );
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.id, other.id);
    assert_ne!(one.is_new, other.is_new);
}

#[tokio::test]
async fn a_user_belongs_to_one_resource() {
    let world = World::start().await;
    let (id, _) = world.user().await;
    let (other, _) = world
        .comms
        .put_resource(resource("other"), spec())
        .await
        .unwrap();
    assert!(world.comms.identity(&world.dev(), &id).is_ok());
    assert!(world.comms.identity(&other, &id).is_err());
}
