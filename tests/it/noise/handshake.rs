//! Handshakes and what follows them without a network: bytes from one end to the other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tokio::io::duplex;
use triskel::node::noise::{self, Credentials, Handshake, Next, Secured};
use triskel::protocol::wire::frame::{Decoder, encode};
use triskel::protocol::wire::limits;
use triskel::protocol::wire::message::{Message, MessageError, OtherTransport};

use super::credentials;

/// Lets two ends shake hands, each frame changed on its way. What each comes to.
fn meet(ends: [&Credentials; 2], mut change: impl FnMut(usize, &mut Vec<u8>)) -> [End; 2] {
    let mut handshakes = [
        Handshake::new(ends[0], true),
        Handshake::new(ends[1], false),
    ];
    let mut frames = 0;
    let mut results = [None, None];
    while results.contains(&None) {
        let mut is_stuck = true;
        for end in 0..2 {
            if results[end].is_some() {
                continue;
            }
            match handshakes[end].step() {
                Next::Send(mut frame) => {
                    change(frames, &mut frame);
                    frames += 1;
                    handshakes[1 - end].arrived(&frame);
                    is_stuck = false;
                }
                Next::Receive => {}
                Next::Done => results[end] = Some(End::Done),
                Next::Refused(error) => results[end] = Some(End::Refused(error)),
            }
            is_stuck &= results[end].is_none();
        }
        if is_stuck {
            return results.map(|result| result.unwrap_or(End::Waits));
        }
    }
    results.map(Option::unwrap)
}

#[derive(Clone, Debug, PartialEq)]
enum End {
    Done,
    Refused(MessageError),
    Waits,
}

#[test]
fn both_ends_say_what_is_different() {
    let (open, closed, other) = (
        credentials(1, None),
        credentials(2, Some(1)),
        credentials(3, Some(2)),
    );
    let refused = |error: OtherTransport| End::Refused(error.into());
    let unchanged = |_: usize, _: &mut Vec<u8>| ();
    let member = credentials(4, Some(1));
    assert_eq!(meet([&closed, &member], unchanged), [End::Done, End::Done]);
    assert_eq!(
        meet([&open, &closed], unchanged),
        [
            refused(OtherTransport::Closed),
            refused(OtherTransport::Open)
        ]
    );
    assert_eq!(
        meet([&closed, &open], unchanged),
        [
            refused(OtherTransport::Open),
            refused(OtherTransport::Closed)
        ]
    );
    let both = [
        refused(OtherTransport::OtherKey),
        refused(OtherTransport::OtherKey),
    ];
    assert_eq!(meet([&closed, &other], unchanged), both);
}

#[test]
fn no_bit_of_a_handshake_can_be_changed() {
    for preshared_key in [None, Some(1)] {
        let (near, far) = (credentials(1, preshared_key), credentials(2, preshared_key));
        let mut lengths = BTreeMap::new();
        meet([&near, &far], |number, frame| {
            lengths.insert(number, frame.len());
        });
        let first = if preshared_key.is_some() { 56 } else { 40 };
        assert_eq!(
            lengths.values().copied().collect::<Vec<_>>(),
            [first, 200, 168]
        );
        let bits = lengths
            .iter()
            .flat_map(|(number, length)| (0..8 * length).map(move |bit| (*number, bit)));
        // One bit of each byte, another one in each.
        for (number, bit) in bits.filter(|(_, bit)| bit % 9 == 0) {
            let ends = meet([&near, &far], |frames, frame| {
                if frames == number {
                    frame[bit / 8] ^= 1 << (bit % 8);
                }
            });
            // Who sent the last frame cannot know that it never came.
            assert!(
                ends[1] != End::Done && (ends[0] != End::Done || number == 2),
                "bit {bit} of frame {number}: {ends:?}"
            );
        }
    }
}

fn secured() -> (Secured, Secured) {
    let (near, far) = (credentials(1, None), credentials(2, None));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut left, mut right) = duplex(4_096);
        let (dials, listens) = tokio::join!(
            noise::shake(&near, &mut left, true),
            noise::shake(&far, &mut right, false)
        );
        (dials.unwrap().unwrap(), listens.unwrap().unwrap())
    })
}

/// The lengths of the messages of Noise in what is sent.
fn lengths(mut sealed: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some((prefix, rest)) = sealed.split_first_chunk() {
        let length = u32::from_be_bytes(*prefix) as usize;
        lengths.push(length);
        sealed = &rest[length..];
    }
    lengths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_cut_is_joined_again(
        sizes in prop::collection::vec(prop_oneof![0usize..300, 65_400usize..65_600, 0usize..1_500_000], 1..5),
        together in any::<bool>(),
        piece in prop_oneof![1usize..70, 1_000usize..100_000],
    ) {
        let (mut near, far) = secured();
        let mut frames = vec![Message::RequestPeers];
        frames.extend(sizes.into_iter().map(|size| Message::NewBlock(vec![7; size].into())));
        let encoded: Vec<_> = frames.iter().map(encode).collect();
        let sealed = match together {
            true => near.sealer.seal(&encoded.concat()).to_vec(),
            false => encoded.iter().flat_map(|frame| near.sealer.seal(frame).to_vec()).collect(),
        };
        let lengths = lengths(&sealed);
        prop_assert_eq!(lengths[0], encoded[0].len() + 16, "what comes first comes alone");
        prop_assert!(lengths.iter().all(|length| *length <= limits::MAX_NOISE_MESSAGE));
        let (mut decoder, mut opener) = (Decoder::default(), Some(far.opener));
        let mut found = Vec::new();
        for piece in sealed.chunks(piece) {
            noise::take(&mut decoder, &mut opener, piece);
            while let Some((message, _)) = noise::next_message(&mut decoder, &mut opener).unwrap() {
                decoder.greeted();
                opener.as_mut().unwrap().greeted();
                found.push(message);
            }
        }
        prop_assert_eq!(found, frames);
    }
}

#[test]
fn before_the_greeting_a_message_is_short() {
    let (mut near, far) = secured();
    let long = encode(&Message::NewBlock(vec![0; 2_000].into()));
    let sealed = near.sealer.seal(&long).to_vec();
    let mut opener = Some(far.opener);
    // Its length is enough to refuse it.
    noise::take(&mut Decoder::default(), &mut opener, &sealed[..4]);
    let refused = noise::next_message(&mut Decoder::default(), &mut opener);
    assert_eq!(refused, Err(OtherTransport::Undecipherable.into()));
}
