//! Many small files at once.

use std::sync::Arc;

use defs_client::{FileRef, GetOptions, PutOptions, Sink, Source};
use defs_core::mode::Mode;

use crate::cluster::{Cluster, content, wish};

#[tokio::test(flavor = "multi_thread")]
async fn small_files_put_together_travel_together_and_come_back_each_by_itself() {
    let cluster = Cluster::new(4);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    client.view().await.unwrap();
    let puts = (0..200_u8).map(|number| {
        let client = client.clone();
        async move {
            let source = Source::Bytes(content(usize::from(number) * 50, number).into());
            let options = PutOptions::new(format!("file {number}"), wish(Mode::Auto));
            client.put(source, options).await.unwrap()
        }
    });
    let stored = futures::future::join_all(puts).await;
    assert!(cluster.calls_of("write records") < 60, "{}", cluster.calls_of("write records"));
    let files: std::collections::BTreeSet<_> = stored.iter().map(|one| one.ticket.file).collect();
    assert_eq!(files.len(), 200);

    // What is asked of a node while it answers travels together.
    cluster.break_all(|faults| faults.delay = std::time::Duration::from_millis(10));
    let gets = (0..200_u8).map(|number| {
        let client = client.clone();
        async move {
            let (reader, mut writer) = tokio::io::duplex(1 << 20);
            let sink = Sink::Writer(Box::new(reader));
            let file = FileRef::Name(format!("file {number}"));
            client.get(file, sink, GetOptions::default()).await.unwrap();
            let mut bytes = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut writer, &mut bytes).await.unwrap();
            assert!(bytes == content(usize::from(number) * 50, number));
        }
    });
    futures::future::join_all(gets).await;
    assert!(cluster.calls_of("read records") < 200, "{}", cluster.calls_of("read records"));
    assert!(Arc::strong_count(&cluster) > 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_puts_under_one_name_one_is_told_that_it_is_taken() {
    let cluster = Cluster::new(3);
    let home = tempfile::tempdir().unwrap();
    let client = cluster.client(home.path()).await;
    let put = |seed: u8| {
        let source = Source::Bytes(content(100, seed).into());
        client.put(source, PutOptions::new("a", wish(Mode::Auto)))
    };
    let (one, two) = tokio::join!(put(1), put(2));
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1, "{one:?} {two:?}");
}
