"""The pages that are photographed. `{…}` stands for a primary key that the sample shop tells."""

#: By the file's name, the page's path.
PAGES: dict[str, str] = {
    "settings": "/admin/braze/brazesettings/{settings}/change/",
    "settings-toggles": "/admin/braze/brazesettings/{settings}/change/",
    "settings-list": "/admin/braze/brazesettings/",
    "send-everything": "/admin/braze/brazesettings/{settings}/resend/",
    "health": "/admin/braze/accounthealth/",
    "health-account": "/admin/braze/accounthealth/primavera/",
    "health-account-chart": "/admin/braze/accounthealth/primavera/?period=week",
    "did-it-arrive": "/admin/braze/arrival/",
    "timeline": "/admin/braze/arrival/primavera/?customer=C-1002",
    "timeline-order": "/admin/braze/arrival/primavera/?customer=C-1001&order=A-5001",
    "failed-syncs": "/admin/braze/failedsync/",
    "failed-sync": "/admin/braze/failedsync/{failed}/change/",
    "skipped-changes": "/admin/braze/skippedsync/",
    "requests": "/admin/braze/delivery/",
    "request": "/admin/braze/delivery/{request}/change/",
    "customers": "/admin/loyalty/customer/",
    "customer": "/admin/loyalty/customer/{customer}/change/",
    "order": "/admin/loyalty/order/{order}/change/",
    "audience": "/admin/loyalty/audience/{audience}/change/",
    "accounts": "/admin/loyalty/account/",
    "people": "/admin/auth/user/",
    "history": "/admin/braze/brazesettings/{settings}/history/",
}
#: Pages of which what matters is further down: the element to scroll to.
SCROLLED = {
    "health-account-chart": "#charts",
    "settings-toggles": "#id_delete_customers",
    "customer": "#braze-beside .actions-row",
    "order": "#braze-beside",
    "audience": "#braze-beside",
}
