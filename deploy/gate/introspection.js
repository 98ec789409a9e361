// Asks Curfew about the token of a request, for nginx-introspection.conf. An answer of 200 is not enough: Curfew gives it for
// dead tokens too, with "active": false.

async function check(r) {
    const token = /^Bearer +([A-Za-z0-9._-]+)$/i.exec(r.headersIn.Authorization || '');
    if (!token) {
        return refuse(r, 401, 'Bearer');
    }
    const answer = await r.subrequest('/_introspect', {method: 'POST', body: 'token=' + token[1]});
    if (answer.status !== 200) {
        return r.return(500); // nginx-introspection.conf makes 503 of it
    }
    const claims = JSON.parse(answer.responseText);
    const audience = [].concat(claims.aud || []);
    if (claims.active !== true || claims.token_type !== 'Bearer' || audience.indexOf(process.env.CURFEW_ISSUER) < 0) {
        return refuse(r, 401, 'Bearer error="invalid_token"');
    }
    const granted = (claims.scope || '').split(' ');
    const required = r.variables.curfew_require.split(' ').filter(s => s !== '');
    if (!required.every(s => granted.indexOf(s) >= 0)) {
        return refuse(r, 403, 'Bearer error="insufficient_scope", scope="' + required.join(' ') + '"');
    }
    r.headersOut['X-Curfew-Subject'] = claims.sub;
    r.headersOut['X-Curfew-Client'] = claims.client_id;
    r.headersOut['X-Curfew-Device'] = claims.device_id || '';
    r.headersOut['X-Curfew-Scope'] = claims.scope || '';
    r.return(204);
}

function refuse(r, status, challenge) {
    r.headersOut['WWW-Authenticate'] = challenge;
    r.return(status);
}

// RFC 6749 section 2.3.1: both parts are form-urlencoded first.
function basic() {
    const parts = [process.env.CURFEW_CLIENT_ID, process.env.CURFEW_CLIENT_SECRET].map(encodeURIComponent);
    return 'Basic ' + Buffer.from(parts.join(':')).toString('base64');
}

export default {check, basic};
