//! Whole nodes in this process: what they tell an operator who does something wrong.

use std::path::Path;
use std::time::Duration;

use defs_core::settings::Settings;
use defs_wire::admin::StatusRequest;
use defs_wire::admin::admin_client::AdminClient;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Bytes;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tower::service_fn;

use crate::run::serve;

mod remote;

/// Of the first node of a network, on a port of the system's choice.
fn settings(folder: &Path) -> Settings {
    let mut settings = Settings::default();
    let folder = folder.to_str().unwrap();
    for (name, value) in [
        ("dataDir", folder),
        ("bootstrap", "on"),
        ("listenAddress", "127.0.0.1"),
        ("port", "0"),
        ("capacity", "100Mi"),
    ] {
        settings.set(name, value).unwrap();
    }
    settings
}

/// Why a node can't start, as its operator reads it.
async fn refused(settings: Settings) -> String {
    let started = tokio::time::timeout(
        Duration::from_secs(30),
        Box::pin(serve(settings, None, CancellationToken::new())),
    );
    format!("{:#}", started.await.unwrap().unwrap_err())
}

/// A node that serves in the background.
struct Running {
    folder: tempfile::TempDir,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let settings = settings(folder.path());
        let served = Box::pin(serve(settings, None, stop.clone()));
        tasks.spawn(async move { served.await.unwrap() });
        let node = Self { folder, tasks, stop };
        let answers = async {
            while node.connect().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answers).await.unwrap();
        node
    }

    async fn socket(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(self.folder.path().join("admin.sock")).await
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let socket = self.folder.path().join("admin.sock");
        let connect = service_fn(move |_| {
            let socket = socket.clone();
            async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        });
        Endpoint::from_static("http://admin.invalid").connect_with_connector(connect).await
    }

    async fn answers(&self) {
        let mut admin = AdminClient::new(self.connect().await.unwrap());
        let status = admin.status(StatusRequest {}).await.unwrap().into_inner();
        assert_eq!(status.capacity_bytes, 100 << 20);
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Bytes in place of a message.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put(out, item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        let all = bytes::Buf::remaining(input);
        bytes::Buf::advance(input, all);
        Ok(Some(()))
    }
}

async fn send(channel: Channel, message: Vec<u8>) -> Result<(), Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/defs.admin.v1.Admin/Status");
    let answer = client.unary(Request::new(message.into()), path, Raw).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_refuses_what_is_too_large_or_no_message_and_lives_on() {
    let node = Running::start().await;
    node.answers().await;
    let large = send(node.connect().await.unwrap(), vec![0; (64 << 10) + 1]).await.unwrap_err();
    assert_eq!(large.code(), Code::OutOfRange, "{large}");
    assert!(large.message().contains("65536"), "{large}");
    // A field that goes on beyond the message's end.
    let cut = send(node.connect().await.unwrap(), vec![0x0a, 0xff, 0x01, 0x00]).await.unwrap_err();
    assert_eq!(cut.code(), Code::Internal, "{cut}");
    // Nothing that anybody would call HTTP.
    let mut socket = node.socket().await.unwrap();
    socket.write_all(&[0xff; 4096]).await.unwrap();
    let mut told = Vec::new();
    // It may hang up before it has read all.
    drop(socket.read_to_end(&mut told).await);
    node.answers().await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_one_folder_is_refused_before_it_touches_anything() {
    let node = Running::start().await;
    let told = refused(settings(node.folder.path())).await;
    assert!(told.contains("is in use by another process"), "{told}");
    assert!(told.contains(node.folder.path().to_str().unwrap()), "{told}");
    node.answers().await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_newer_program_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("format"), "7\n").unwrap();
    let told = refused(settings(folder.path())).await;
    assert!(told.ends_with("has format 7, this program reads up to 1: upgrade it"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let mut status = settings(folder.path());
    status.set("statusPort", &port.to_string()).unwrap();
    let told = refused(status).await;
    assert!(
        told.contains(&format!("127.0.0.1:{port}")) && told.contains("--status-port"),
        "{told}"
    );
    let other = tempfile::tempdir().unwrap();
    let mut peers = settings(other.path());
    peers.set("port", &port.to_string()).unwrap();
    let told = refused(peers).await;
    assert!(told.contains(&format!("port {port} is taken")), "{told}");
}
