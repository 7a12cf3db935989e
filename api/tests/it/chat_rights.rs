//! Who may do what in chat: every route, for everybody who might call it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::chat::{Somebody, identifier, participant};
use crate::stack::{Stack, resource_id};

/// What may become of a call.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Done,
    Unauthorized,
    Forbidden,
    NotFound,
}

use Fate::{Done, Forbidden, NotFound, Unauthorized};

/// The routes, each with a success of its own. `{t}` is the thread, `{m}` a message of the caller, `{x}` a user who can
/// be added and removed.
const ROUTES: [(&str, &str, u16); 16] = [
    ("POST", "threads", 201),
    ("GET", "threads", 200),
    ("GET", "threads/{t}", 200),
    ("PATCH", "threads/{t}", 204),
    ("POST", "threads/{t}/messages", 201),
    ("GET", "threads/{t}/messages", 200),
    ("GET", "threads/{t}/messages/{m}", 200),
    ("PATCH", "threads/{t}/messages/{m}", 204),
    ("DELETE", "threads/{t}/messages/{m}", 204),
    ("GET", "threads/{t}/participants", 200),
    ("POST", "threads/{t}/participants/:add", 201),
    ("POST", "threads/{t}/participants/:remove", 204),
    ("POST", "threads/{t}/typing", 200),
    ("GET", "threads/{t}/readReceipts", 200),
    ("POST", "threads/{t}/readReceipts", 200),
    ("DELETE", "threads/{t}", 204),
];

/// Whoever calls, and what becomes of each of the routes, in their order.
fn table() -> Vec<(&'static str, [Fate; 16])> {
    let of_members = |fate: Fate| {
        let mut fates = [fate; 16];
        // A thread of one's own, and the list of one's own threads, are nobody else's business.
        (fates[0], fates[1]) = (Done, Done);
        fates
    };
    let mut join = [Done; 16];
    for of_owners in [0, 3, 15] {
        join[of_owners] = Forbidden;
    }
    let mut limited = join;
    for of_hosts in [10, 11] {
        limited[of_hosts] = Forbidden;
    }
    let mut removed = of_members(Forbidden);
    (removed[5], removed[6]) = (Done, Done);
    vec![
        ("creator", [Done; 16]),
        ("member", [Done; 16]),
        ("chat.join", join),
        ("chat.join.limited", limited),
        ("voip", [Forbidden; 16]),
        ("removed", removed),
        ("stranger", of_members(Forbidden)),
        ("other resource", of_members(NotFound)),
        ("expired", [Unauthorized; 16]),
        ("revoked", [Unauthorized; 16]),
        ("deleted", [Unauthorized; 16]),
        ("forged", [Unauthorized; 16]),
        ("nobody", [Unauthorized; 16]),
    ]
}

/// A thread in which the caller has the part it is named after.
struct Room {
    caller: Somebody,
    thread: String,
    message: String,
    spare: Somebody,
}

impl Stack {
    async fn room(&self, part: &str) -> Room {
        let scope = if ["voip", "chat.join", "chat.join.limited"].contains(&part) {
            part
        } else {
            "chat"
        };
        let mut caller = self.somebody(scope).await;
        let (owner, spare) = (self.somebody("chat").await, self.somebody("chat").await);
        let thread = match part {
            "creator" => self.thread(&caller, &[&owner, &spare]).await,
            "stranger" | "other resource" => self.thread(&owner, &[&spare]).await,
            _ => self.thread(&owner, &[&caller, &spare]).await,
        };
        let speaker = if ["stranger", "other resource", "voip"].contains(&part) {
            &owner
        } else {
            &caller
        };
        let message = self.say(speaker, &thread, "hello").await;
        match part {
            "removed" => {
                let path = format!("threads/{thread}/participants/:remove");
                let removed = self.chat(&owner, "POST", &path, &identifier(&caller)).await;
                assert_eq!(removed.status, 204);
            }
            "other resource" => caller = self.foreigner().await,
            "expired" => self.advance(Duration::from_secs(24 * 3600)).await,
            "revoked" => {
                self.of_identity(&caller, "POST", "/:revokeAccessTokens")
                    .await;
            }
            "deleted" => self.of_identity(&caller, "DELETE", "").await,
            // Another signature of the same length.
            "forged" => {
                let (payload, signature) = caller.token.rsplit_once('.').unwrap();
                let other: String = signature.chars().rev().collect();
                caller.token = format!("{payload}.{other}");
            }
            "nobody" => caller.token.clear(),
            _ => (),
        }
        Room {
            caller,
            thread,
            message,
            spare,
        }
    }

    /// A user of another resource.
    async fn foreigner(&self) -> Somebody {
        let other = match self.comms.resource(&resource_id("other")) {
            Some(other) => other,
            None => self.make("other").await,
        };
        let wish = gridpost_comms::identity::NewIdentity {
            token: Some(gridpost_comms::identity::TokenWish {
                scopes: "chat".parse().unwrap(),
                lifetime: gridpost_comms::identity::Lifetime::default(),
            }),
            ..Default::default()
        };
        let made = self.comms.create_identity(&other, wish).await.unwrap();
        Somebody {
            id: made.id.to_string(),
            token: made.token.unwrap().text.reveal().to_owned(),
        }
    }

    async fn of_identity(&self, who: &Somebody, method: &str, below: &str) {
        let target = format!(
            "/identities/{}{below}?api-version=2023-10-01",
            who.id.replace(':', "%3A")
        );
        assert_eq!(self.signed(method, &target, "").await.status, 204);
    }
}

fn body_of(route: &str, method: &str, room: &Room) -> Value {
    match (method, route) {
        ("POST", "threads") => json!({"topic": "mine"}),
        ("PATCH", "threads/{t}") => json!({"topic": "ours"}),
        ("POST" | "PATCH", route) if route.contains("messages") => json!({"content": "words"}),
        (_, "threads/{t}/participants/:add") => json!({"participants": [participant(&room.spare)]}),
        (_, "threads/{t}/participants/:remove") => identifier(&room.spare),
        ("POST", "threads/{t}/readReceipts") => json!({"chatMessageId": room.message}),
        ("POST", "threads/{t}/typing") => json!({}),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn sections_3_2_and_7_who_may_do_what() {
    let stack = Stack::start().await;
    for (part, fates) in table() {
        for ((method, route, success), fate) in ROUTES.iter().zip(fates) {
            let room = stack.room(part).await;
            let path = route
                .replace("{t}", &room.thread)
                .replace("{m}", &room.message);
            let body = body_of(route, method, &room);
            let answer = stack.chat(&room.caller, method, &path, &body).await;
            let told = format!("{part}: {method} {route}: {answer:?}");
            let (status, error) = match fate {
                Done => (*success, None),
                Unauthorized => (401, Some(("Unauthorized", "Request is not authorized."))),
                Forbidden => {
                    let message = "User is not allowed to perform specified action.";
                    (403, Some(("Forbidden", message)))
                }
                NotFound => (404, Some(("NotFound", "The chat thread does not exist."))),
            };
            assert_eq!(answer.status, status, "{told}");
            if let Some((code, message)) = error {
                let expected = json!({"error": {"code": code, "message": message}});
                assert_eq!(answer.json(), expected, "{told}");
            }
        }
    }
}
