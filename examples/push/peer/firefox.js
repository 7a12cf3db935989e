// The settings of the test's Firefox, in a profile of its own that lives as long as the test.

// Our push service instead of Mozilla's. Without TLS, for which Firefox wants to be told.
user_pref("dom.push.serverURL", "@PUSH_SERVICE@");
user_pref("dom.push.testing.allowInsecureServerURL", true);

// Yes to "Allow notifications?", which nobody could click.
user_pref("permissions.default.desktop-notification", 1);

// Notifications by Firefox itself: there is no desktop to ask.
user_pref("alerts.useSystemBackend", false);

// What the page complains about is in the log of the test.
user_pref("devtools.console.stdout.content", true);

// No first page, no questions, nobody called.
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.newtabpage.enabled", false);
user_pref("browser.preonboarding.enabled", false);
user_pref("browser.region.network.url", "");
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("browser.safebrowsing.malware.enabled", false);
user_pref("browser.safebrowsing.phishing.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.startup.page", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("datareporting.policy.dataSubmissionPolicyBypassNotification", true);
user_pref("extensions.getAddons.cache.enabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("toolkit.telemetry.enabled", false);
