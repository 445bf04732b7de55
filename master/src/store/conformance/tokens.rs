//! Tokens are added, listed, and taken back for good.

use orchestra_contracts::{Role, TokenId};

use super::{TestStore, at, every_adapter, worker};
use crate::store::{TokenGrant, TokenHash};

every_adapter!(
    tokens_are_listed_as_they_were_added,
    a_revoked_token_stays_revoked_since_the_first_time,
    tokens_outlive_a_restart,
);

fn grant(role: Role, first: u8) -> TokenGrant {
    let mut hash = [0xab; 32];
    hash[0] = first;
    TokenGrant { role, name: None, worker: None, hash: TokenHash(hash) }
}

async fn tokens_are_listed_as_they_were_added(store: TestStore) {
    assert!(store.tokens().await.unwrap().is_empty());
    let bound = TokenGrant {
        name: Some("box".to_owned()),
        worker: Some(worker("w1")),
        ..grant(Role::Worker, 0)
    };
    let first = store.add_token(bound.clone(), at(1).now).await.unwrap();
    let second = store.add_token(grant(Role::Admin, 255), at(2).now).await.unwrap();
    assert_eq!((first.id, &first.grant), (TokenId(1), &bound));
    assert_eq!((first.created_at, first.revoked_at), (at(1).now, None));
    assert_eq!(store.tokens().await.unwrap(), [first, second]);
}

async fn a_revoked_token_stays_revoked_since_the_first_time(store: TestStore) {
    let token = store.add_token(grant(Role::Client, 1), at(1).now).await.unwrap();
    for second in [5, 9] {
        let revoked = store.revoke_token(token.id, at(second).now).await.unwrap().unwrap();
        assert_eq!(revoked.revoked_at, Some(at(5).now));
    }
    assert_eq!(store.tokens().await.unwrap()[0].revoked_at, Some(at(5).now));
    assert!(store.revoke_token(TokenId(7), at(1).now).await.unwrap().is_none());
}

async fn tokens_outlive_a_restart(mut store: TestStore) {
    let token = store.add_token(grant(Role::Client, 1), at(1).now).await.unwrap();
    store.reopen().await;
    assert_eq!(store.tokens().await.unwrap(), [token]);
}
