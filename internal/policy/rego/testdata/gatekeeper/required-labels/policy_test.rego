package k8srequiredlabels

test_missing_label {
  results := violation with input as {"review": {"object": {"metadata": {"labels": {"app": "web"}}}}, "parameters": {"labels": [{"key": "owner", "allowedRegex": ""}]}}
  count(results) == 1
}

test_all_labels {
  results := violation with input as {"review": {"object": {"metadata": {"labels": {"owner": "x"}}}}, "parameters": {"labels": [{"key": "owner", "allowedRegex": ""}]}}
  count(results) == 0
}
