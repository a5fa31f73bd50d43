"""Addresses and identifiers: RFC 3986 (URI), RFC 3987 (IRI), RFC 6570 (URI Template).

The names are those of the grammars in the RFCs.
"""

from __future__ import annotations

_H16 = r"[\dA-Fa-f]{1,4}"
_DEC_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
# RFC 3986, section 3.2.2 (with RFC 4291, section 2.2, for IPv6).
IPV4 = rf"{_DEC_OCTET}(?:\.{_DEC_OCTET}){{3}}"
_LS32 = rf"(?:{_H16}:{_H16}|{IPV4})"
IPV6 = (
    rf"(?:(?:{_H16}:){{6}}{_LS32}"
    rf"|::(?:{_H16}:){{5}}{_LS32}"
    rf"|(?:{_H16})?::(?:{_H16}:){{4}}{_LS32}"
    rf"|(?:(?:{_H16}:){{0,1}}{_H16})?::(?:{_H16}:){{3}}{_LS32}"
    rf"|(?:(?:{_H16}:){{0,2}}{_H16})?::(?:{_H16}:){{2}}{_LS32}"
    rf"|(?:(?:{_H16}:){{0,3}}{_H16})?::{_H16}:{_LS32}"
    rf"|(?:(?:{_H16}:){{0,4}}{_H16})?::{_LS32}"
    rf"|(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}"
    rf"|(?:(?:{_H16}:){{0,6}}{_H16})?::)"
)

_PCT = r"%[\dA-Fa-f]{2}"
_UNRESERVED = r"a-zA-Z\d\-._~"
_SUB_DELIMS = r"!$&'()*+,;="
# RFC 3987, section 2.2: noncharacters are not among them.
_UCSCHAR = r"\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef" + "".join(
    rf"\u{{{plane:x}0000}}-\u{{{plane:x}fffd}}" for plane in range(1, 14)
).replace(r"\u{e0000}", r"\u{e1000}")
_IPRIVATE = r"\ue000-\uf8ff\u{f0000}-\u{ffffd}\u{100000}-\u{10fffd}"


def reference(*, relative: bool, international: bool) -> str:
    """``URI`` (with ``relative``, ``URI-reference``), or their IRI counterparts."""
    unreserved = _UNRESERVED + (_UCSCHAR if international else "")
    private = _IPRIVATE if international else ""
    pchar = rf"(?:[{unreserved}{_SUB_DELIMS}:@]|{_PCT})"
    segment_nz_nc = rf"(?:[{unreserved}{_SUB_DELIMS}@]|{_PCT})+"
    userinfo = rf"(?:[{unreserved}{_SUB_DELIMS}:]|{_PCT})*"
    ip_literal = rf"\[(?:{IPV6}|[vV][\dA-Fa-f]+\.[{_UNRESERVED}{_SUB_DELIMS}:]+)\]"
    # IPv4 addresses are registered names too, as far as the grammar goes.
    reg_name = rf"(?:[{unreserved}{_SUB_DELIMS}]|{_PCT})*"
    authority = rf"(?:{userinfo}@)?(?:{ip_literal}|{reg_name})(?::\d*)?"
    path_abempty = rf"(?:/{pchar}*)*"
    path_absolute = rf"/(?:{pchar}+(?:/{pchar}*)*)?"
    path_rootless = rf"{pchar}+(?:/{pchar}*)*"
    path_noscheme = rf"{segment_nz_nc}(?:/{pchar}*)*"
    tail = rf"(?:\?(?:{pchar}|[/?{private}])*)?(?:#(?:{pchar}|[/?])*)?"
    scheme = r"[a-zA-Z][a-zA-Z\d+\-.]*"
    hier_part = rf"(?://{authority}{path_abempty}|{path_absolute}|{path_rootless})?"
    absolute = rf"{scheme}:{hier_part}{tail}"
    if not relative:
        return absolute
    relative_part = rf"(?://{authority}{path_abempty}|{path_absolute}|{path_noscheme})?"
    return rf"{absolute}|{relative_part}{tail}"


# RFC 6570, section 2, with the apostrophe of erratum 6937. The operators reserved for extensions
# are left out: no processor knows them.
_LITERALS = r"[!#$&'(-;=?-\[\]_a-z~" + _UCSCHAR + _IPRIVATE + rf"]|{_PCT}"
_VARCHAR = rf"(?:[a-zA-Z\d_]|{_PCT})"
_VARSPEC = rf"{_VARCHAR}(?:\.?{_VARCHAR})*(?::[1-9]\d{{0,3}}|\*)?"
URI_TEMPLATE = rf"(?:{_LITERALS}|\{{[+#./;?&]?{_VARSPEC}(?:,{_VARSPEC})*\}})*"
