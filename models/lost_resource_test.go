package models

import (
	"errors"
	"testing"

	"github.com/google/uuid"
)

// A refresh that is refused uses no token up, whatever it is refused for: a client that comes again with its token is
// no thief. RFC 8707: what the device was signed in for may be lost, all of it.
func TestRefreshDevice_RefusedBeforeItRotates(t *testing.T) {
	const orders, mail = "https://orders.example/a?b=c", "https://mail.example"
	forEachDB(t, func(t *testing.T, k *kit) {
		u := k.newUser("anna")
		set := func(patch ClientPatch) {
			t.Helper()
			var err error
			if k.client, err = k.UpdateClient(t.Context(), k.client.ID, patch, Actor{}); err != nil {
				t.Fatal(err)
			}
		}
		row := func(id uuid.UUID) (text string) {
			t.Helper()
			if err := k.sqldb.QueryRowContext(t.Context(), `SELECT refresh_id || ' ' || rotated_at || ' ' || issued_at
				FROM devices WHERE id = '`+id.String()+`'`).Scan(&text); err != nil {
				t.Fatal(err)
			}
			return text
		}
		has := func(resources ...string) ClientPatch { return ClientPatch{Resources: &resources} }
		grants := func(names ...string) ClientPatch { return ClientPatch{Grants: &names} }
		for _, c := range []struct {
			name         string
			loses, again ClientPatch
			asks         Refresh
			want         error
		}{
			{"all resources", has(), has(orders, mail), Refresh{}, ErrTarget},
			{"the device's, but not another", has(mail), has(orders, mail), Refresh{}, ErrTarget},
			{"the same, with a scope", has(mail), has(orders, mail), Refresh{Scope: "profile"}, ErrTarget},
			{"the one that is asked for", has(mail), has(orders, mail), Refresh{Resources: []string{orders}}, ErrTarget},
			{"one that it never had", has(orders, mail), has(orders, mail), Refresh{Resources: []string{mail}}, ErrTarget},
			{
				"the scope",
				ClientPatch{Scopes: &[]string{"settings"}},
				ClientPatch{Scopes: &[]string{"settings", "profile"}},
				Refresh{Scope: "profile"},
				ErrScope,
			},
			{"the grant", grants(GrantPassword), grants(GrantPassword, GrantRefreshToken), Refresh{}, ErrRefreshTokenInvalid},
		} {
			t.Run(c.name, func(t *testing.T) {
				set(has(orders, mail))
				in, err := k.SignIn(t.Context(), SignIn{
					User: u, Client: k.client, Scope: "profile", Name: "phone", Origin: origin, Resources: []string{orders},
				})
				if err != nil {
					t.Fatal(err)
				}
				refused := func(what, token string) {
					t.Helper()
					set(c.loses)
					c.asks.Token, c.asks.Client, c.asks.Origin = token, k.client, Origin{IP: "198.51.100.1", UserAgent: "elsewhere"}
					before := row(in.DeviceID)
					if _, err := k.RefreshDevice(t.Context(), c.asks); !errors.Is(err, c.want) {
						t.Fatalf("%s: %v, want %v", what, err, c.want)
					}
					if after := row(in.DeviceID); after != before {
						t.Errorf("%s: the row has changed: %s, was %s", what, after, before)
					}
					set(c.again)
				}
				refused("the current token", in.RefreshToken)
				refreshes := k.Stats.Refreshes.Load()
				next := k.mustRefresh(in.RefreshToken)
				if k.Stats.Refreshes.Load() != refreshes+1 || next.Claims.Audience[0] != orders {
					t.Errorf("it is used up: %v", next.Claims)
				}
				refused("a retry", in.RefreshToken)
				if again := k.mustRefresh(in.RefreshToken); again.RefreshToken != next.RefreshToken {
					t.Error("the retry got another successor")
				}
				k.mustRefresh(next.RefreshToken)
				set(c.loses)
				if _, err := k.refresh(in.RefreshToken); !errors.Is(err, ErrRefreshTokenReused) && c.name != "the grant" {
					t.Errorf("a replay: %v", err)
				}
				set(c.again)
			})
		}
		// Without resources nothing is lost.
		set(has())
		k.mustRefresh(k.signIn(u).RefreshToken)
	})
}
