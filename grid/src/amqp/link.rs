//! One link to one node of a peer, shared by all who send there.
//!
//! Promise: there is at most one connection; a message is sent when the peer has given credit for it, and `send` ends
//! when the peer has said what became of it. A link that failed, or whose user gave up in the middle of something, is
//! not used again: the next message opens another one.
//! Not here: how long a send may take. Its caller drops it.
//! Source: AMQP 1.0, 2.6 (links, flow control), 3.4 (outcomes).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fe2o3_amqp::connection::ConnectionHandle;
use fe2o3_amqp::link::SendError;
use fe2o3_amqp::link::delivery::DeliveryFut;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::SessionHandle;
use fe2o3_amqp::types::definitions::SenderSettleMode;
use fe2o3_amqp::types::messaging::{Data, Message, Outcome};
use fe2o3_amqp::{Connection, Sender, Session};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Peer, verdict};
use crate::outbound::{BadUrl, Client, Endpoint, Failure};

/// The largest frame that we take. A peer sends us nothing but small ones.
const FRAME_BYTES: u32 = 64 << 10;

/// A peer that says nothing for so long is gone, in milliseconds; it is told to send empty frames meanwhile.
const IDLE_MS: u32 = 60_000;

/// Messages on their way to the tasks that write them. As many as workers of one lane can bring at once.
const BUFFER: usize = 64;

/// Ends when the peer has said what became of a message.
type Told = DeliveryFut<Result<Outcome, SendError>>;

/// What came of sending, before the peer has said anything.
type Sent = Result<Told, SendError>;

/// A link to one node.
pub(crate) struct Link {
    client: Client,
    endpoint: Endpoint,
    peer: Arc<Peer>,
    address: String,
    name: String,
    /// How many links were opened: a name is not used twice.
    opened: AtomicU64,
    open: Mutex<Option<Open>>,
}

/// A link that is open: a task has it, and ends when the peer closes it or nobody is left to use it.
struct Open {
    orders: mpsc::Sender<Order>,
    doubtful: Arc<AtomicBool>,
}

/// A message to be sent, and where to say that it was.
struct Order {
    message: Message<Data>,
    sent: oneshot::Sender<Sent>,
}

impl Link {
    /// A link that is opened when it is first used. `name` tells it from others of the same server.
    pub(crate) fn new(
        client: &Client,
        peer: Arc<Peer>,
        address: String,
        name: String,
    ) -> Result<Self, BadUrl> {
        Ok(Self {
            endpoint: client.endpoint(&peer.url())?,
            client: client.clone(),
            peer,
            address,
            name,
            opened: AtomicU64::new(0),
            open: Mutex::const_new(None),
        })
    }

    /// Sends one message and waits for what the peer says of it. A link that turns out to be closed is replaced once,
    /// and the message made once more: a copy of each would be made for nothing.
    pub(crate) async fn send(
        &self,
        message: &(dyn Fn() -> Result<Message<Data>, Failure> + Sync),
    ) -> Result<(), Failure> {
        if let Some((orders, doubt)) = self.standing().await
            && let Some(sent) = ordered(&orders, message()?).await
            && !is_closed(&sent)
        {
            return told(sent, doubt).await;
        }
        let (orders, doubt) = self.opened().await?;
        match ordered(&orders, message()?).await {
            Some(sent) => told(sent, doubt).await,
            None => Err(Failure::Socket("the peer closed the link".into())),
        }
    }

    /// The link that is open, if one is.
    async fn standing(&self) -> Option<(mpsc::Sender<Order>, Doubt)> {
        let place = self.open.lock().await;
        place
            .as_ref()
            .filter(|open| open.is_usable())
            .map(Open::used)
    }

    /// The link that is open, or another one. Those who come while it is opened wait for it.
    async fn opened(&self) -> Result<(mpsc::Sender<Order>, Doubt), Failure> {
        let mut place = self.open.lock().await;
        if let Some(open) = place.as_ref().filter(|open| open.is_usable()) {
            return Ok(open.used());
        }
        *place = None;
        let open = Box::pin(self.open()).await?;
        Ok(place.insert(open).used())
    }

    async fn open(&self) -> Result<Open, Failure> {
        let stream = self.client.stream(&self.endpoint).await?;
        let profile = match self.peer.login() {
            Some(login) => SaslProfile::Plain {
                username: login.user.to_string(),
                password: login.password.reveal().to_owned(),
            },
            None => SaslProfile::Anonymous,
        };
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let started = self.client.wall().millis();
        let mut connection = Connection::builder()
            .container_id(format!("gridpost-{started}"))
            .hostname(self.peer.host())
            // TLS, where there is any, is already set up.
            .scheme("amqp")
            .max_frame_size(FRAME_BYTES)
            .idle_time_out(IDLE_MS)
            .buffer_size(BUFFER)
            .sasl_profile(profile)
            .open_with_stream(stream)
            .await
            .map_err(verdict::of_opening)?;
        let mut session = Session::begin(&mut connection)
            .await
            .map_err(verdict::of_beginning)?;
        let sender = Sender::builder()
            .name(format!("{}-{number}", self.name))
            .target(self.address.as_str())
            .sender_settle_mode(SenderSettleMode::Unsettled)
            .attach(&mut session)
            .await
            .map_err(verdict::of_attaching)?;
        let (orders, coming) = mpsc::channel(BUFFER);
        // The crate's own tasks are started in the same way.
        tokio::spawn(keep(sender, session, connection, coming));
        Ok(Open {
            orders,
            doubtful: Arc::default(),
        })
    }
}

/// Hands a message to the task that has the link. `None`: there is no such task any more, and it sent nothing.
async fn ordered(orders: &mpsc::Sender<Order>, message: Message<Data>) -> Option<Sent> {
    let (sent, receipt) = oneshot::channel();
    orders.send(Order { message, sent }).await.ok()?;
    receipt.await.ok()
}

/// Whether the link was closed before the message could be sent.
fn is_closed(sent: &Sent) -> bool {
    matches!(
        sent,
        Err(SendError::LinkStateError(_) | SendError::Detached(_))
    )
}

/// Waits for what the peer says of a message.
async fn told(sent: Sent, doubt: Doubt) -> Result<(), Failure> {
    let told = match sent {
        Ok(told) => told.await,
        // Nothing was sent: the link is as good as before.
        Err(error) => Err(error),
    };
    if told
        .as_ref()
        .map_or_else(verdict::speaks_of_the_message, |_| true)
    {
        doubt.settle();
    }
    verdict::of_outcome(told.map_err(verdict::of_sending)?)
}

/// Has a link until the peer closes it, a message cannot be sent, or nobody is left who would send one. Then those
/// who still wait for the peer's word are told that none will come.
async fn keep(
    mut sender: Sender,
    session: SessionHandle<()>,
    connection: ConnectionHandle<()>,
    mut orders: mpsc::Receiver<Order>,
) {
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = sender.on_detach() => None,
        };
        let Some(mut order) = order else { break };
        let sent = tokio::select! {
            sent = sender.send_batchable(order.message) => sent,
            // Nobody waits any more, and a frame may be half written.
            () = order.sent.closed() => break,
        };
        let broken = sent
            .as_ref()
            .is_err_and(|error| !verdict::speaks_of_the_message(error));
        // Who ordered it may have left in this moment.
        let _ = order.sent.send(sent);
        if broken {
            break;
        }
    }
    drop((sender, session, connection));
}

impl Open {
    fn is_usable(&self) -> bool {
        !self.doubtful.load(Ordering::Relaxed) && !self.orders.is_closed()
    }

    fn used(&self) -> (mpsc::Sender<Order>, Doubt) {
        let doubt = Doubt {
            link: Arc::clone(&self.doubtful),
            settled: false,
        };
        (self.orders.clone(), doubt)
    }
}

/// Held while the peer owes an answer. Let go of without one, the link is doubtful: a peer that is silent may be gone.
struct Doubt {
    link: Arc<AtomicBool>,
    settled: bool,
}

impl Doubt {
    fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        if !self.settled {
            self.link.store(true, Ordering::Relaxed);
        }
    }
}
