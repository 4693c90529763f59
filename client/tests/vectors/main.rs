//! The published tickets are those that the code makes and reads.

mod document;

use defs_client::Ticket;

#[test]
fn the_published_tickets_are_what_the_code_makes() {
    let published = std::fs::read_to_string(document::path()).expect("docs/vectors/ticket.json");
    assert_eq!(published, document::text(), "run the example `tickets` if the change is meant");
}

#[test]
fn every_published_ticket_reads_back() {
    for ticket in document::tickets() {
        let text = ticket.to_text();
        let back: Ticket = text.parse().expect("a ticket");
        assert_eq!(back.to_text(), text);
    }
}
