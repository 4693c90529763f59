//! All transfers of a client share one budget of memory, and none waits for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use defs_client::{FileRef, GetOptions, PutOptions, Sink, Source};
use defs_core::mode::Mode;
use defs_core::size::Size;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::cluster::{Cluster, content, wish};
use crate::damage::{SLICE, four_two};

#[tokio::test(flavor = "multi_thread")]
async fn transfers_that_do_not_fit_together_take_turns() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    // Less than one slice of 256 KiB and its shards.
    let client = cluster.client_with(home.path(), 0x11, Size::kib(300)).await;
    let work = async {
        let puts = (0..6_u8).map(|number| {
            let source = Source::Bytes(content(3 * SLICE, number).into());
            client.put(source, PutOptions::new(number.to_string(), four_two()))
        });
        let stored = futures::future::join_all(puts).await;
        assert!(stored.iter().all(Result::is_ok));
        let gets = (0..6_u8).map(|number| {
            let (client, path) = (client.clone(), home.path().join(number.to_string()));
            async move {
                let file = FileRef::Name(number.to_string());
                client.get(file, Sink::File(path.clone()), GetOptions::default()).await.unwrap();
                assert!(std::fs::read(path).unwrap() == content(3 * SLICE, number));
            }
        });
        futures::future::join_all(gets).await;
    };
    let timely = tokio::time::timeout(Duration::from_secs(60), work).await;
    assert!(timely.is_ok(), "they wait for each other");
}

/// A stream that remembers the most bytes that were asked or given at a time.
struct Watched<S>(S, Arc<AtomicUsize>);

impl AsyncRead for Watched<io::Cursor<Vec<u8>>> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1.fetch_max(buffer.remaining(), Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched<tokio::io::Sink> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_max(bytes.len(), Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_read_and_written_by_the_buffer_size() {
    let cluster = Cluster::new(6);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let [most_read, most_written] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let bytes = io::Cursor::new(content(3 * SLICE, 1));
    let source = Source::Stream(Box::new(Watched(bytes, Arc::clone(&most_read))));
    client.put(source, PutOptions::new("a", wish(Mode::Slice))).await.unwrap();
    let sink = Sink::Writer(Box::new(Watched(tokio::io::sink(), Arc::clone(&most_written))));
    client.get(FileRef::Name("a".into()), sink, GetOptions::default()).await.unwrap();
    assert_eq!(most_read.load(Ordering::Relaxed), crate::cluster::BUFFER);
    assert_eq!(most_written.load(Ordering::Relaxed), crate::cluster::BUFFER);
}
